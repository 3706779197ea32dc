"""What a fault of frames is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from tokenwire.simulator.exchange import Frame

if TYPE_CHECKING:
    import random

Frames: TypeAlias = Iterator[Frame]


class Words(Protocol):
    """How a vendor says in its stream what faults need: whole events, blank line included.

    Each is asked for right when it is sent, so that it may depend on what was sent before.

    Attributes:
        error: the server failed.
        overloaded, limited: the same for overload and for a rate limit.
        reframed: ``error``, with an ``event:`` line if the vendor has none, without one otherwise.
        ping: what keeps a connection alive and means nothing.
    """

    @property
    def error(self) -> bytes: ...

    @property
    def overloaded(self) -> bytes: ...

    @property
    def limited(self) -> bytes: ...

    @property
    def reframed(self) -> bytes: ...

    @property
    def ping(self) -> bytes: ...


class Says(NamedTuple):
    """Words that are always the same."""

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
    says: Words
    rng: random.Random


#: Frames in, frames out.
Bender: TypeAlias = Callable[[Frames, Scene], Frames]
