"""Faults as functions from frames to frames. The table of what each does is in ``faults``.

A function here gets the honest sequence of a reply and gives the broken one; it never looks at the clock or
at a socket, so each fault can be read, and tested, as a list of bytes. Those that replace the whole reply by
another (``429``, ``html`` …) are the vendor's, since every vendor says no in its own words.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tokenwire.simulator.exchange import Frame, Mark

if TYPE_CHECKING:
    import random

    from tokenwire.simulator.faults import Fault

_FILLER = b"x" * 4096
#: Endless faults write one filler this often (seconds): 4 MB/s, enough to reach any bound soon, and no busy
#: loop.
_FILLER_DELAY = 0.001

Frames: TypeAlias = Iterator[Frame]


class Scene(NamedTuple):
    """What a fault knows beside the frames.

    Attributes:
        n: the fault's number.
        chunked: whether body frames get HTTP chunk framing.
        error: the vendor's error event, whole, as it would come in mid-stream.
        rng: for faults that choose.
    """

    n: int
    chunked: bool
    error: bytes
    rng: random.Random


def bend(fault: Fault, frames: Frames, *, chunked: bool, error: bytes, rng: random.Random) -> Frames:
    """The frames of a reply, with *fault* in them; unchanged if the fault is not one of frames."""
    bender = _BENDERS.get(fault.name)
    return bender(frames, Scene(fault.n, chunked, error, rng)) if bender else frames


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


def _error(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.DATA, scene.error, delay=victim.delay)


def _error_event(victim: Frame, rest: Frames, scene: Scene) -> Frames:
    yield Frame(Mark.DATA, b"event: error\n" + scene.error, delay=victim.delay)


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


def _error_first(frames: Frames, scene: Scene) -> Frames:
    yield next(frames)
    yield Frame(Mark.DATA, scene.error)


def _close_delimited(frames: Frames, scene: Scene) -> Frames:
    opening = next(frames)
    yield opening._replace(data=opening.data.replace(b"transfer-encoding: chunked", b"connection: close"))
    for frame in frames:
        yield frame._replace(mark=Mark.RAW)
    yield Frame(Mark.CUT)


def _labelled(opening: Frame, coding: bytes) -> Frame:
    return opening._replace(data=opening.data[:-2] + b"content-encoding: " + coding + b"\r\n\r\n")


def _gzip(frames: Frames, scene: Scene) -> Frames:
    yield _labelled(next(frames), b"gzip")
    packer = zlib.compressobj(wbits=31)  # 31: deflate in gzip's frame
    for frame in frames:
        yield frame._replace(data=packer.compress(frame.data) + packer.flush(zlib.Z_SYNC_FLUSH))
    yield Frame(Mark.DATA, packer.flush())


def _brotli(frames: Frames, scene: Scene) -> Frames:
    yield _labelled(next(frames), b"br")
    yield from frames


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
    "stall-head": _stall_head,
    "slow-headers": _slow_headers,
    "endless-header": _endless_header,
    "stall-first": _stall_first,
    "stall": _after(_stall),
    "cut": _after(_cut),
    "cut-tool": _after(_cut, Mark.ARGUMENTS),
    "reset": _after(_reset),
    "eof": _after(_eof),
    "error-first": _error_first,
    "error-mid": _after(_error),
    "error-event": _after(_error_event),
    "malformed": _after(_malformed),
    "no-done": _without_done,
    "done-only": _after(_done_only),
    "done-bare": _done_bare,
    "done-twice": _done_twice,
    "bad-chunk": _after(_bad_chunk),
    "endless-line": _after(_endless_line),
    "close-delimited": _close_delimited,
    "split": _split,
    "pings": _each(lambda data, i, scene: b": ping\n\n" + data if i % max(1, scene.n) == 0 else data),
    "crlf": _each(lambda data, i, scene: data.replace(b"\n", b"\r\n")),
    "cr": _each(lambda data, i, scene: data.replace(b"\n", b"\r")),
    "bom": _each(lambda data, i, scene: data if i else b"\xef\xbb\xbf" + data),
    "no-space": _each(lambda data, i, scene: data.replace(b"data: ", b"data:", 1)),
    "id-lines": _each(lambda data, i, scene: b"id: %d\n%b: ping\n\n" % (i + 1, data)),
    "gzip": _gzip,
    "brotli": _brotli,
}
