import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Receiver:
    """A real HTTP server that keeps what it is sent, and answers with `status`."""

    port: int = 0
    status: int = 200
    received: list[dict] = field(default_factory=list)

    def url(self, credentials: str = "") -> str:
        return f"json://{credentials}127.0.0.1:{self.port}/hook/s3cr3t-path"


@pytest.fixture
def receiver():
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            receiver.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture
def decision():
    return {
        "version": "v20261101_000000",
        "run_id": "manual__2026-10",
        "outcome": "rejected",
        "passed": False,
        "case": "champion",
        "reason": "2 of 3 checks failed.",
        "checks": [
            {
                "id": "average_correlation",
                "sentence": "The average correlation is at least 0.98.",
                "value": 0.9312345,
                "threshold": 0.98,
                "verdict": "fail",
                "severity": "error",
                "target": None,
            },
            {
                "id": "latency",
                "sentence": "The p99 latency is at most 10 ms.",
                "value": 0.31,
                "threshold": 10.0,
                "verdict": "pass",
                "severity": "error",
                "target": None,
            },
            {
                "id": "skill",
                "sentence": "The skill on jitter is above 0.",
                "value": None,
                "threshold": 0.0,
                "verdict": "fail",
                "severity": "error",
                "target": "jitter_ms",
            },
        ],
    }


@pytest.fixture
def validation():
    return {
        "passed": False,
        "checks": [
            {
                "sentence": "packet_loss must lie within [0, 1]: 12 of 400 values do not.",
                "severity": "error",
                "success": False,
            },
            {"sentence": "drift of rtt_ms is 0.3, above 0.2.", "severity": "warning", "success": False},
            {"sentence": "rtt_ms is at least 0.", "severity": "error", "success": True},
        ],
    }
