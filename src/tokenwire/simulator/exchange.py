"""What passes between the HTTP layer and a vendor: a request in, a reply out, made of frames.

A reply is one lazy sequence of frames, the response head included. That makes timing and every fault a plain
function from frames to frames: a vendor writes the honest sequence, ``faults`` bends it, ``playback``
sends it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from tokenwire.simulator.memory import Memory
from tokenwire.simulator.tries import Tries


class Mark(enum.IntEnum):
    """What a frame is. Order matters: up to ``RAW`` bytes go out unframed, from ``CUT`` on it is an end."""

    HEAD = 0  # status line and headers
    RAW = 1  # bytes outside of the reply's framing
    DATA = 2  # body bytes of no special meaning
    START = 3  # the event that opens a choice
    TOKEN = 4  # generated text
    ARGUMENTS = 5  # generated tool arguments
    FINISH = 6  # the event that closes a choice
    USAGE = 7
    DONE = 8  # the dialect's end marker
    CUT = 9  # close the connection here, whatever was promised
    RESET = 10  # the same by RST: what is under way is lost
    STALL = 11  # send nothing more, and stay


class Frame(NamedTuple):
    """One step of a reply: wait ``delay`` seconds, then send ``data``, which holds ``tokens`` tokens."""

    mark: Mark
    data: bytes = b""
    tokens: int = 0
    delay: float = 0.0


@dataclass(frozen=True)
class Request:
    """A whole HTTP request. Header names are lower case; a repeated header keeps its last value."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    http_1_0: bool = False


@dataclass(frozen=True)
class Reply:
    """What to send.

    Attributes:
        frames: from the head to the end; when they run out, the reply has ended properly.
        chunked: whether body frames get HTTP/1.1 chunk framing (each frame is one chunk).
        keep_alive: whether the connection can be used again after a proper end.
        generation: whether this is a model's answer, and counts in the statistics.
        deaf: go on writing after the client has left.
        stale: reset the connection when another request comes on it.
    """

    frames: Iterator[Frame]
    chunked: bool = False
    keep_alive: bool = True
    generation: bool = False
    deaf: bool = False
    stale: bool = False


class Context(NamedTuple):
    """What a handler needs beside the request.

    Attributes:
        seed: decides ids, jitter and padding; another one for each request.
        now: Unix time in seconds.
        tries: how often each request was tried.
        memory: answers that can be asked for again.
    """

    seed: int
    now: float
    tries: Tries
    memory: Memory


Handler: TypeAlias = Callable[[Request, Context], Reply]
#: A vendor: request -> its handler, None if the request is for another one.
Vendor: TypeAlias = Callable[[Request], Handler | None]

# Statuses of nobody's standard.
_PHRASES = {529: "Overloaded"}

Headers: TypeAlias = Iterable[tuple[str, str]]


def head(request: Request, status: int, headers: Headers, *, length: int | None) -> bytes:
    """The response head. *length* is that of the body in bytes; None for a stream."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", f"date: {formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length is not None:
        lines.append(f"content-length: {length}")
    elif not request.http_1_0:
        lines.append("transfer-encoding: chunked")
    if not keeps_alive(request, stream=length is None):
        lines.append("connection: close")
    elif request.http_1_0:
        lines.append("connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def keeps_alive(request: Request, *, stream: bool) -> bool:
    """Whether the connection outlives the reply: in HTTP/1.0 only the end of the connection ends a stream."""
    return request.keep_alive and not (stream and request.http_1_0)


def plain_reply(request: Request, status: int, headers: Headers, body: bytes) -> Reply:
    """A reply whose body is known, sent at once."""
    opening = head(request, status, headers, length=len(body))
    frames = iter((Frame(Mark.HEAD, opening), Frame(Mark.DATA, body)))
    return Reply(frames, keep_alive=keeps_alive(request, stream=False))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _PHRASES.get(status, "Unknown")
