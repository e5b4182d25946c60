"""A proxy before a real server that fails its first answers."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def failing_first(url: str, *, times: int) -> Iterator[str]:
    """The URL of a proxy that answers 503 this many times, and then passes everything on."""
    left = [times]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if left[0] > 0:
                left[0] -= 1
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            with urllib.request.urlopen(url + self.path, timeout=30) as answer:  # noqa: S310 - our own server
                content = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
