"""Faults as functions from frames to frames. The table of what each does is in ``faults``.

A function here gets the honest sequence of a reply and gives the broken one; it never looks at the clock or
at a socket, so each fault can be read, and tested, as a list of bytes. Those that replace the whole reply by
another (``429``, ``html`` …) are the vendor's, since every vendor says no in its own words.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tokenwire.simulator.codings import CODINGS, Packer
from tokenwire.simulator.exchange import Frame, Mark

if TYPE_CHECKING:
    import random

    from tokenwire.simulator.faults import Fault

_FILLER = b"x" * 4096
#: Endless faults write one filler this often (seconds): 4 MB/s, enough to reach any bound soon, and no busy
#: loop.
_FILLER_DELAY = 0.001

Frames: TypeAlias = Iterator[Frame]


class Says(NamedTuple):
    """How a vendor says in its stream what faults need: whole events, blank line included.

    Attributes:
        error: the server failed.
        overloaded, limited: the same for overload and for a rate limit.
        reframed: ``error``, with an ``event:`` line if the vendor has none, without one otherwise.
        ping: what keeps a connection alive and means nothing.
    """

    error: bytes
    overloaded: bytes
    limited: bytes
    reframed: bytes
    ping: bytes


class Scene(NamedTuple):
    """What a fault knows beside the frames.

    Attributes:
        n: the fault's number.
        chunked: whether body frames get HTTP chunk framing.
        says: the vendor's words.
        rng: for faults that choose.
    """

    n: int
    chunked: bool
    says: Says
    rng: random.Random


def bend(fault: Fault, frames: Frames, *, chunked: bool, says: Says, rng: random.Random) -> Frames:
    """The frames of a reply, with *fault* in them; unchanged if the fault is not one of frames."""
    bender = _BENDERS.get(fault.name)
    return bender(frames, Scene(fault.n, chunked, says, rng)) if bender else frames


def _until(frames: Frames, k: int, mark: Mark | None = None) -> tuple[Frames, list[Frame]]:
    """(the frames up to *k* tokens, a list that then holds the next one): a token frame, or one of *mark*."""
    victim: list[Frame] = []

    def before() -> Frames:
        tokens = 0
        for frame in frames:
            counts = frame.tokens if mark is None or frame.mark is mark else 0
            if counts and tokens + counts > k:
                victim.append(frame)
                return
            tokens += counts
            yield frame

    return before(), victim


def _after(
    end: Callable[[Frame, Frames, Scene], Frames], mark: Mark | None = None
) -> Callable[[Frames, Scene], Frames]:
    """A fault that lets n tokens pass, and then goes on as *end* says, given the next frame and the rest."""

    def bender(frames: Frames, scene: Scene) -> Frames:
        before, victim = _until(frames, scene.n, mark)
        yield from before
        if victim:
            yield from end(victim[0], frames, scene)

    return bender


# Ends in mid-stream


def _stall(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.STALL)


def _cut(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    size = b"%x\r\n" % len(victim.data) if scene.chunked else b""
    yield Frame(Mark.RAW, size + victim.data[: len(victim.data) // 2], delay=victim.delay)
    yield Frame(Mark.CUT)


def _reset(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.RESET, delay=victim.delay)


def _eof(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    return iter(())


def _saying(kind: str) -> Callable[[Frame, Frames, Scene], Frames]:
    """An end by the vendor's event of that *kind*, a field of ``Says``."""

    def end(victim: Frame, rest: Frames, scene: Scene) -> Frames:
        yield Frame(Mark.DATA, getattr(scene.says, kind), delay=victim.delay)

    return end


def _malformed(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    # The honest event without its last third, but with the blank line: an event, and no JSON.
    yield victim._replace(data=victim.data[: len(victim.data) * 2 // 3] + b"\n\n")
    yield from rest


def _done_only(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    for frame in rest:
        if frame.mark is Mark.DONE:
            yield frame


def _bad_chunk(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.RAW, b"zz\r\nthis is no chunk size\r\n", delay=victim.delay)
    yield victim._replace(delay=0.0)
    yield from rest


def _endless_line(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    yield victim._replace(data=victim.data[: len(victim.data) // 2])
    yield from itertools.repeat(Frame(Mark.DATA, _FILLER, delay=_FILLER_DELAY))


# The head


def _early_leave(frames: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.CUT)


def _stall_head(frames: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.STALL)


def _slow_headers(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    for i, byte in enumerate(opening.data):
        yield Frame(Mark.RAW, bytes((byte,)), delay=scene.n / 1000 if i else opening.delay)
    yield from frames


def _endless_header(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    yield opening._replace(data=opening.data.removesuffix(b"\r\n"))
    lines = (b"x-filler-%d: %b\r\n" % (i, _FILLER) for i in itertools.count())
    yield from (Frame(Mark.RAW, line, delay=_FILLER_DELAY) for line in lines)


def _stall_first(frames: Frames, scene: Scene) -> Frames:
    yield next(frames)
    yield Frame(Mark.STALL)


def _saying_first(kind: str) -> Callable[[Frames, Scene], Frames]:
    def bender(frames: Frames, scene: Scene) -> Frames:
        yield next(frames)
        yield Frame(Mark.DATA, getattr(scene.says, kind))

    return bender


def _slow_head(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    yield opening._replace(delay=opening.delay + scene.n / 1000)
    yield from frames


def _slow_first(frames: Frames, scene: Scene) -> Frames:
    wait = scene.n / 1000
    for frame in frames:
        if frame.tokens:
            yield frame._replace(delay=frame.delay + wait)
            wait = 0.0
        else:
            yield frame


def _reset_head(frames: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.RESET)


def _garbage(frames: Frames, scene: Scene) -> Frames:
    # As a server of something else would greet: no status line, no NUL-free text, no CR LF CR LF.
    yield Frame(Mark.RAW, b"SSH-2.0-simulator\r\n\x00\x00\x02\xcc\x0a\x14\xff\xfe garbage \x7f\n")
    yield Frame(Mark.CUT)


def _cut_head(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    yield opening._replace(data=opening.data[: len(opening.data) // 2])
    yield Frame(Mark.CUT)


def _wrong_type(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    yield opening._replace(data=re.sub(rb"content-type: [^\r]+", b"content-type: text/html", opening.data, count=1))
    yield from frames


def _close_after(frames: Frames, scene: Scene) -> Frames:
    yield from frames
    if scene.chunked:
        yield Frame(Mark.RAW, b"0\r\n\r\n")
    yield Frame(Mark.CUT)


def _close_delimited(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    yield opening._replace(data=opening.data.replace(b"transfer-encoding: chunked", b"connection: close"))
    for frame in frames:
        yield frame._replace(mark=Mark.RAW)
    yield Frame(Mark.CUT)


def _packed(label: bytes, packer: Callable[[], Packer]) -> Callable[[Frames, Scene], Frames]:
    """A fault that compresses the body, event by event if it is a stream."""

    def bender(frames: Frames, scene: Scene) -> Frames:
        pack = packer()
        opening = next(frames)
        head = opening.data[:-2] + b"content-encoding: " + label + b"\r\n\r\n"
        if b"\r\ncontent-length: " not in head:
            yield opening._replace(data=head)
            for frame in frames:
                yield frame._replace(data=pack(frame.data, False))
            yield Frame(Mark.DATA, pack(b"", True))
            return
        whole = list(frames)
        body = pack(b"".join(frame.data for frame in whole), True)
        length = b"\r\ncontent-length: %d\r\n" % len(body)
        yield opening._replace(data=re.sub(rb"\r\ncontent-length: \d+\r\n", length, head))
        yield Frame(Mark.DATA, body, sum(frame.tokens for frame in whole))

    return bender


# The framing of events


def _each(change: Callable[[bytes, int, Scene], bytes]) -> Callable[[Frames, Scene], Frames]:
    """A fault that rewrites each body frame, given its bytes and its number from 0."""

    def bender(frames: Frames, scene: Scene) -> Frames:
        yield next(frames)
        for i, frame in enumerate(frames):
            yield frame._replace(data=change(frame.data, i, scene))

    return bender


def _split(frames: Frames, scene: Scene) -> Frames:
    yield next(frames)
    for frame in frames:
        start, size = 0, len(frame.data)
        delay = frame.delay
        while start < size:
            stop = min(size, start + scene.rng.randint(1, max(1, scene.n)))
            tokens = frame.tokens if stop == size else 0
            yield Frame(Mark.DATA, frame.data[start:stop], tokens, delay)
            start, delay = stop, 0.0


def _no_space(data: bytes, i: int, scene: Scene) -> bytes:
    return re.sub(rb"(?m)^(data|event): ", rb"\1:", data)


def _no_event(data: bytes, i: int, scene: Scene) -> bytes:
    return re.sub(rb"(?m)^event: .*\n", b"", data)


def _start_twice(frames: Frames, scene: Scene) -> Frames:
    for frame in frames:
        yield frame
        if frame.mark is Mark.START:
            yield frame._replace(tokens=0, delay=0.0)


def _error_last(frames: Frames, scene: Scene) -> Frames:
    for frame in frames:
        yield frame._replace(data=scene.says.error) if frame.mark is Mark.DONE else frame


def _without_done(frames: Frames, scene: Scene) -> Frames:
    return (frame for frame in frames if frame.mark is not Mark.DONE)


def _done_bare(frames: Frames, scene: Scene) -> Frames:
    for frame in frames:
        yield frame._replace(data=frame.data.removesuffix(b"\n")) if frame.mark is Mark.DONE else frame


def _done_twice(frames: Frames, scene: Scene) -> Frames:
    late = Frame(Mark.DATA, b": nothing\n\n")
    for frame in frames:
        yield frame
        if frame.mark is Mark.TOKEN:
            late = frame._replace(mark=Mark.DATA, tokens=0, delay=0.0)
        elif frame.mark is Mark.DONE:
            yield late
            yield frame


_BENDERS: dict[str, Callable[[Frames, Scene], Frames]] = {
    "early-leave": _early_leave,
    "reset-head": _reset_head,
    "garbage": _garbage,
    "close-after": _close_after,
    "wrong-type": _wrong_type,
    "slow-head": _slow_head,
    "stall-head": _stall_head,
    "slow-headers": _slow_headers,
    "cut-head": _cut_head,
    "endless-header": _endless_header,
    "slow-first": _slow_first,
    "stall-first": _stall_first,
    "error-first": _saying_first("error"),
    "overloaded-first": _saying_first("overloaded"),
    "stall": _after(_stall),
    "cut": _after(_cut),
    "cut-tool": _after(_cut, Mark.ARGUMENTS),
    "reset": _after(_reset),
    "eof": _after(_eof),
    "error-mid": _after(_saying("error")),
    "error-event": _after(_saying("reframed")),
    "overloaded-mid": _after(_saying("overloaded")),
    "limited-mid": _after(_saying("limited")),
    "malformed": _after(_malformed),
    "bad-chunk": _after(_bad_chunk),
    "endless-line": _after(_endless_line),
    "error-last": _error_last,
    "no-done": _without_done,
    "done-only": _after(_done_only),
    "done-bare": _done_bare,
    "done-twice": _done_twice,
    "close-delimited": _close_delimited,
    "split": _split,
    "pings": _each(lambda data, i, scene: scene.says.ping + data if i % max(1, scene.n) == 0 else data),
    "crlf": _each(lambda data, i, scene: data.replace(b"\n", b"\r\n")),
    "cr": _each(lambda data, i, scene: data.replace(b"\n", b"\r")),
    "bom": _each(lambda data, i, scene: data if i else b"\xef\xbb\xbf" + data),
    "no-space": _each(_no_space),
    "no-event": _each(_no_event),
    "id-lines": _each(lambda data, i, scene: b"id: %d\n%b: ping\n\n" % (i + 1, data)),
    "start-twice": _start_twice,
    **{name: _packed(label, packer) for name, (label, packer) in CODINGS.items()},
}
