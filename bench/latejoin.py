"""Joining an answer late: how soon does the first byte come, and how much is told of what was missed?

A stream stands still after its last token, so that all that a joiner is sent is the prefix. There is a stream for each
dialect: the first joiner finds nothing read, those after him find what he left.
"""

from __future__ import annotations

import socket
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.figures import percentile
from bench.load import Pace
from bench.loopback import wait_for
from bench.report import Section, number

if TYPE_CHECKING:
    from bench.rig import Line
    from bench.session import Session

DIALECTS: Final = (
    "native", "ui-messages", "agui", "openai.chat", "openai.responses", "anthropic", "gemini", "ollama",
)  # fmt: skip
_FOREVER: Final = 1_000_000
#: So long nothing comes: the prefix is over. Heartbeats take ten seconds.
_PAUSE: Final = 0.3
_GATHER_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Join:
    """What one joiner was sent. Times from his request on, in milliseconds."""

    first_ms: float
    last_ms: float
    frames: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Joins:
    """Those of one stream, in one dialect."""

    dialect: str
    text_bytes: int
    first: Join
    later_ms: float
    """First byte, the median of those who came after the first."""
    worst_ms: float


def join(port: int, path: str) -> Join:
    """One joiner, on a connection that is open already."""
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        asked = time.perf_counter()
        connection.sendall(request)
        body, first, last = b"", None, asked
        connection.settimeout(_PAUSE)
        while True:
            try:
                data = connection.recv(1 << 20)
            except TimeoutError:
                if first is not None:
                    break
                raise
            last = time.perf_counter()
            body += data
            head, blank, rest = body.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200") or not data:
                raise TimeoutError(f"a late joiner was answered {body[:200]!r}")
            first = first or (last if blank and rest else None)
    prefix = dechunked(rest)
    ends = prefix.count(b"\n\n") or prefix.count(b"\n")
    return Join(first_ms=(first - asked) * 1e3, last_ms=(last - asked) * 1e3, frames=ends, size=len(prefix))


def dechunked(body: bytes) -> bytes:
    """The contents of whole chunks."""
    parts: list[bytes] = []
    while body:
        line, _, rest = body.partition(b"\r\n")
        size = int(line, 16)
        parts.append(rest[:size])
        body = rest[size + 2 :]
    return b"".join(parts)


def joins(line: Line, *, dialect: str, tokens: int, again: int) -> Joins:
    """Let a stream come to its *tokens*, and then one reader after the other join it."""
    before = line.stats()
    stream = line.start_stream(Pace(tokens=_FOREVER, gap_us=500, first_ms=0, hold_after=tokens, stamps=False))
    goal = before.tokens + tokens
    wait_for(lambda: line.stats().tokens == goal, _GATHER_SECONDS, "the stream did not get its tokens")
    time.sleep(_PAUSE)
    path = f"/v1/streams/{stream}/events?from=snapshot&dialect={dialect}"
    first = join(line.port, path)
    later = sorted(join(line.port, path).first_ms for _ in range(again))
    return Joins(
        dialect=dialect,
        text_bytes=line.stats().text_bytes - before.text_bytes,
        first=first,
        later_ms=percentile(later, 0.5) or 0.0,
        worst_ms=later[-1],
    )


def run(session: Session) -> Section:
    tokens = 500 if session.quick else 5000
    again = 5 if session.quick else 20
    section = Section(
        "latejoin",
        f"Joining at token {tokens} (shape live, chat upstream)",
        ("", "dialect", "first byte ms", "all ms", "frames", "bytes / text", "the next ones ms", "worst ms"),
        notes=["The first joiner finds nothing read; the next ones, as many as they are, find what he left."],
    )
    for relay in session.plain():
        if not relay.native:
            continue
        for dialect in DIALECTS:
            found = session.measure(relay, partial(joins, dialect=dialect, tokens=tokens, again=again))
            if found is None:
                continue
            section.rows.append(
                [
                    relay.title,
                    dialect,
                    number(found.first.first_ms, 1),
                    number(found.first.last_ms, 1),
                    str(found.first.frames),
                    number(found.first.size / max(found.text_bytes, 1)),
                    number(found.later_ms, 1),
                    number(found.worst_ms, 1),
                ]
            )
            section.data.append({"relay": relay.name, **asdict(found)})
    return section
