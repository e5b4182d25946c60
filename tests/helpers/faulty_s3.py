"""A TCP proxy in front of a real S3 server: forwards what boto3 sends, and fails as it is told."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from bwpredict.store.s3 import PROBE_NAME

LOST = ("500 lost", "503 lost", "silence lost", "reset lost", "409", "412")
"""The request never reaches the server."""
REFUSALS = {
    "full": (507, "XMinioStorageFull"),
    "over quota": (403, "QuotaExceeded"),
    "skewed": (403, "RequestTimeTooSkewed"),
}
"""What a server says that does not take the request at all."""
LANDED = ("500 landed", "503 landed", "silence landed", "reset landed", "truncated", "stale")
"""The server does what it was asked, but the answer goes wrong ("stale": a listing from before)."""
CODES = {
    "409": "ConditionalRequestConflict",
    "412": "PreconditionFailed",
    "500": "InternalError",
    "501": "NotImplemented",
    "503": "SlowDown",
}


@dataclass(frozen=True)
class Asked:
    """One request: method, path with query as sent, headers by lower-case name, body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_list(self) -> bool:
        return "list-type" in parse_qs(urlsplit(self.target).query)

    @property
    def key(self) -> str:
        """The object's key with bucket, or the prefix of a listing."""
        parts = urlsplit(self.target)
        return parse_qs(parts.query).get("prefix", [""])[0] if self.is_list else unquote(parts.path).lstrip("/")


@dataclass
class FaultyS3:
    """`faults` are for the next writes, first in first out; `choose`, if set, names the fault of every request.

    Faults are those of LOST, REFUSALS and LANDED, "cut landed" (closed without an answer), "501", and "unconditional":
    the conditions of the write are dropped, as by a server that does not know them.
    """

    endpoint: str = ""
    faults: deque[str] = field(default_factory=deque)
    choose: Callable[[Asked], str] | None = None
    before_answer: Callable[[], None] | None = None
    """Called after a fault: time for a rival."""
    delay_seconds: float = 0
    """Before each answer."""
    asked: list[Asked] = field(default_factory=list)
    listings: dict[str, bytes] = field(default_factory=dict)
    """The last answer to each listing, for "stale"."""

    def fault(self, asked: Asked) -> str:
        if self.choose:
            return self.choose(asked)
        is_write = asked.method == "PUT" and PROBE_NAME not in asked.target
        return self.faults.popleft() if is_write and self.faults else ""


@contextmanager
def running_proxy(upstream: str) -> Iterator[FaultyS3]:
    """A proxy before the server at the URL `upstream`, in a thread of its own while the block runs."""
    state, loop = FaultyS3(), asyncio.new_event_loop()
    address = (urlsplit(upstream).hostname or "", urlsplit(upstream).port or 80)
    server = loop.run_until_complete(asyncio.start_server(_handler(state, address), "127.0.0.1", 0))
    state.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


def _handler(state: FaultyS3, upstream: tuple[str, int]) -> _Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _receive(reader, writer)
            state.asked.append(asked)
            answer = await _answer(state, asked, upstream)
            if answer == _SILENCE:
                await reader.read()
            elif answer == _RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()

    return handle


_SILENCE, _RESET = b"silence", b"reset"


async def _answer(state: FaultyS3, asked: Asked, upstream: tuple[str, int]) -> bytes:
    """The bytes to send back, or what to do instead."""
    fault = state.fault(asked)
    what, _, where = fault.partition(" ")
    answer = b""
    if fault in ("", *LANDED, "unconditional") or where == "landed":
        answer = await _forward(asked, upstream, conditions=fault != "unconditional")
    if asked.is_list:
        before = state.listings.get(asked.target, answer)
        state.listings[asked.target] = answer
        answer = before if fault == "stale" else answer
    if fault and state.before_answer:
        await asyncio.get_running_loop().run_in_executor(None, state.before_answer)
    await asyncio.sleep(state.delay_seconds)
    if fault in REFUSALS:
        return _error(*REFUSALS[fault])
    if what in CODES:
        return _error(int(what), CODES[what])
    head, _, body = answer.partition(b"\r\n\r\n")
    truncated = head + b"\r\n\r\n" + body[: len(body) // 2] if len(body) > 1 else head[: len(head) // 2]
    special = {"silence": _SILENCE, "reset": _RESET, "cut": b"", "truncated": truncated}
    return special.get(what, answer)


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, target, _ = first.split(" ")
    return Asked(method, target, headers, body)


async def _forward(asked: Asked, upstream: tuple[str, int], *, conditions: bool) -> bytes:
    dropped = {"expect", "connection"} if conditions else {"expect", "connection", "if-match", "if-none-match"}
    lines = [f"{name}: {value}" for name, value in asked.headers.items() if name not in dropped]
    head = "\r\n".join([f"{asked.method} {asked.target} HTTP/1.1", *lines, "connection: close", "", ""])
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(head.encode("latin-1") + asked.body)
        return await reader.read()
    finally:
        writer.close()


def _error(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
