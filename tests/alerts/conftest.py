import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sample_documents import sample_comparison, sample_decision, sample_validation


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
    """A rejection: one figure too large, and one that could not be computed."""
    comparison = sample_comparison(error=3.0)
    comparison["models"]["challenger"]["per_target"]["jitter_ms"]["skill"] = None
    return sample_decision(comparison)


@pytest.fixture
def validation():
    return sample_validation(broken=True)
