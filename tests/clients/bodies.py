"""A server on 127.0.0.1 that answers every path with bytes made before: what a relay would send, for real clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tokenwire.dialects.base import Dialect, Frame
from tokenwire.wire import sse


class Answer(NamedTuple):
    """What is answered."""

    body: bytes
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()


class Bodies:
    """Where the server is, and what was asked of it: method, path and body, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str, Any]] = []


def streamed(dialect: Dialect, body: bytes) -> Answer:
    """*body*, with the headers of the dialect, and as readers with ids get it: an id for each event, heartbeats
    between them."""
    events = sse.Decoder().feed(body)
    wire = b"".join(
        b": hb\n" * (number % 3 == 0) + sse.encode(event.data, id=f"1-{number}") for number, event in enumerate(events)
    )
    headers = [("content-type", dialect.content_type), *((k.decode(), v.decode()) for k, v in dialect.headers)]
    return Answer(wire, 200, headers)


def framed(dialect: Dialect, frames: Sequence[Frame]) -> Answer:
    """The same of frames."""
    return streamed(dialect, b"".join(sse.encode(frame.data) for frame in frames))


@contextmanager
def serving(answers: Mapping[str, Answer]) -> Iterator[Bodies]:
    """The answers by path, until the block ends. Paths that are not there are 204."""
    found: Bodies

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: Nagle's algorithm would hold the second for 40 ms

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, told: Any) -> None:
            found.asked.append((self.command, self.path, told))
            answer = answers.get(self.path, Answer(b"", 204))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Bodies(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
