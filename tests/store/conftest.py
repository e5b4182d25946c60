"""An S3 server that can be told to lose answers."""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest


@dataclass
class FaultyServer:
    """A proxy before the S3 server. `faults` holds what happens to the next PUTs, first in first out.

    "500 lost", "500 landed": answered with 500, not forwarded or forwarded; "cut landed": forwarded, then
    the connection is closed without an answer; "409": the server asks to send it again; "501": not implemented.
    """

    endpoint: str
    faults: deque[str] = field(default_factory=deque)
    before_answer: object = None
    """Called after a "landed" fault was forwarded: time for a rival."""


@pytest.fixture
def faulty_s3(s3_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """boto3's endpoint is a proxy that loses answers as told."""
    state = FaultyServer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = state.faults.popleft() if self.command == "PUT" and state.faults else ""
            if fault in ("", "500 landed", "cut landed"):
                status, headers, content = self._forward(body)
            if fault and callable(state.before_answer):
                state.before_answer()
            if fault == "cut landed":
                self.close_connection = True
                return
            if fault:
                content = b"<Error><Code>%s</Code></Error>" % _CODES[fault[:3]]
                status, headers = int(fault[:3]), [("Content-Type", "application/xml")]
            self._answer(status, headers, content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815 - names of http.server

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            target = urlsplit(s3_environment)
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=10)
            headers = {name: value for name, value in self.headers.items() if name != "Expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            skipped = ("transfer-encoding", "content-length", "connection")
            return answer.status, [h for h in answer.getheaders() if h[0].lower() not in skipped], content

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", state.endpoint)
    yield state
    server.shutdown()
    server.server_close()


_CODES = {"500": b"InternalError", "409": b"ConditionalRequestConflict", "501": b"NotImplemented"}
