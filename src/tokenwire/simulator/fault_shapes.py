"""Faults of form: how a body is framed, coded and spelled. Nothing that it says is lost."""

from __future__ import annotations

import re
from collections.abc import Callable

from tokenwire.simulator.codings import CODINGS, Packer
from tokenwire.simulator.exchange import Frame, Mark
from tokenwire.simulator.fault_scene import Bender, Frames, Scene


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


#: Name -> what bends the frames.
SHAPES: dict[str, Bender] = {
    "close-delimited": _close_delimited,
    "split": _split,
    "pings": _each(lambda data, i, scene: scene.says.ping + data if i % max(1, scene.n) == 0 else data),
    "crlf": _each(lambda data, i, scene: re.sub(rb"\r?\n", b"\r\n", data)),
    "cr": _each(lambda data, i, scene: re.sub(rb"\r?\n", b"\r", data)),
    "bom": _each(lambda data, i, scene: data if i else b"\xef\xbb\xbf" + data),
    "no-space": _each(_no_space),
    "no-event": _each(_no_event),
    "id-lines": _each(lambda data, i, scene: b"id: %d\n%b: ping\n\n" % (i + 1, data)),
    "start-twice": _start_twice,
    **{name: _packed(label, packer) for name, (label, packer) in CODINGS.items()},
}
