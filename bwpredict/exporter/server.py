"""The exporter over HTTP: `/metrics`, `/-/healthy` and `/-/ready`."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, ThreadingWSGIServer, gzip_accepted

from bwpredict.errors import ConfigError
from bwpredict.exporter.exporter import Exporter
from bwpredict.exporter.exposition import compressed, exposition
from bwpredict.exporter.thresholds import Thresholds

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")
_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)
_POLL_S = 0.05
"""How long a stop may take."""


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port` or `:port` (all addresses). Raises ConfigError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ConfigError(f"--listen {text}: expected HOST:PORT, for example 127.0.0.1:9108.")
    return match["six"] or match["host"] or "0.0.0.0", int(match["port"])  # noqa: S104 - asked for by `:port`


@contextmanager
def serving(exporter: Exporter, thresholds: Thresholds, listen: str) -> Iterator[int]:
    """Serve from a background thread while the context is open; yields the port.

    Raises:
        ConfigError: the address is none of this machine's, or its port is in use.
    """
    host, port = parse_address(listen)
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]

        class Server(ThreadingWSGIServer):
            """Of the address's family; wsgiref has no argument for it."""

            address_family = family
            request_queue_size = 64

        server = make_server(host, port, application(exporter, thresholds), Server, handler_class=_QuietHandler)
    except OSError as error:
        raise ConfigError(f"--listen {listen}: cannot listen on this address ({error.strerror or error}).") from error
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="http", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def application(exporter: Exporter, thresholds: Thresholds) -> WSGIApplication:
    """The WSGI application."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [*_TEXT, ("Allow", "GET, HEAD")])
            return [b"GET only\n"]
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return _metrics(exporter, thresholds, environ, start_response)
        if path == "/-/healthy":
            start_response("200 OK", [*_TEXT])
            return [b"healthy\n"]
        if path == "/-/ready":
            ready = exporter.ready.is_set()
            start_response("200 OK" if ready else "503 Service Unavailable", [*_TEXT])
            return [b"ready\n" if ready else b"the history is being read\n"]
        start_response("404 Not Found", [*_TEXT])
        return [b"see /metrics\n"]

    return answer


def _metrics(
    exporter: Exporter, thresholds: Thresholds, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    headers = [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)]
    pieces = exposition(exporter.figures, thresholds, exporter.health.registry)
    if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
        start_response("200 OK", [*headers, ("Content-Encoding", "gzip")])
        return compressed(pieces)
    start_response("200 OK", headers)
    return pieces


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing of each scrape."""
