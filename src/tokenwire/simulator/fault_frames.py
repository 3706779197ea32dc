"""Faults as functions from frames to frames. The table of what each does is in ``faults``.

A function here gets the honest sequence of a reply and gives the broken one; it never looks at the clock or
at a socket, so each fault can be read, and tested, as a list of bytes. Those that replace the whole reply by
another (``429``, ``html`` …) are the vendor's, since every vendor says no in its own words.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenwire.simulator.exchange import Frame, Mark
from tokenwire.simulator.fault_scene import Bender, Frames, Scene, Words
from tokenwire.simulator.fault_shapes import SHAPES

if TYPE_CHECKING:
    import random

    from tokenwire.simulator.faults import Fault

_FILLER = b"x" * 4096
#: Endless faults write one filler this often (seconds): 4 MB/s, enough to reach any bound soon, and no busy
#: loop.
_FILLER_DELAY = 0.001


def bend(fault: Fault, frames: Frames, *, chunked: bool, says: Words, rng: random.Random) -> Frames:
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


# The end


def _error_last(frames: Frames, scene: Scene) -> Frames:
    for frame in frames:
        yield frame._replace(data=scene.says.error) if frame.mark is Mark.DONE else frame


def _without_done(frames: Frames, scene: Scene) -> Frames:
    return (frame for frame in frames if frame.mark is not Mark.DONE)


def _done_bare(frames: Frames, scene: Scene) -> Frames:
    for frame in frames:
        if frame.mark is not Mark.FINISH:
            yield _bare(frame) if frame.mark is Mark.DONE else frame
            continue
        marker = next(frames, None)
        if marker is None or marker.data:
            yield frame
        else:  # a dialect without a marker: its last event it is
            yield _bare(frame)
        if marker is not None:
            yield _bare(marker) if marker.mark is Mark.DONE else marker


def _bare(frame: Frame) -> Frame:
    return frame._replace(data=frame.data.removesuffix(b"\n").removesuffix(b"\r"))


def _done_twice(frames: Frames, scene: Scene) -> Frames:
    late = Frame(Mark.DATA, b": nothing\n\n")
    for frame in frames:
        yield frame
        if frame.mark is Mark.TOKEN:
            late = frame._replace(mark=Mark.DATA, tokens=0, delay=0.0)
        elif frame.mark is Mark.DONE:
            yield late
            yield frame


_BENDERS: dict[str, Bender] = {
    **SHAPES,
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
}
