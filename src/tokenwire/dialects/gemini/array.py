"""The same answers for clients that do not ask for ``alt=sse``: one JSON array, its elements sent as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.base import Frame
from tokenwire.dialects.gemini import errors
from tokenwire.dialects.gemini.encode import Encoder

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Failed, Terminal
    from tokenwire.dialects.transcript import Transcript


class ArrayEncoder:
    """Deltas -> pieces of the array, which are written one after the other. *stream*, *created* and *model* are those
    of ``Encoder``.

    The bracket and an element without words are written when anything at all is known: so whoever joins late, and is
    told the same in fewer elements, goes on in the same array.
    """

    __slots__ = ("_begun", "_encoder")

    def __init__(self, stream: str, created: float, model: str) -> None:
        self._encoder = Encoder(stream, created, model)
        self._begun = False

    def feed(self, delta: Delta) -> list[Frame]:
        """The elements of one delta. Raises as ``Encoder.feed`` does."""
        return self._begin() + _elements(self._encoder.feed(delta))

    def prefix(self, fold: Transcript) -> list[Frame]:
        """The elements of what *fold* says. Whatever was fed before is forgotten."""
        self._begun = False
        said = _elements(self._encoder.prefix(fold))
        known = fold.choices or fold.events or fold.failed is not None
        return (self._begin() if known else []) + said

    def close(self, terminal: Terminal) -> list[Frame]:
        """The last elements, an error among them, and the bracket."""
        return [*self._begin(), *_elements(self._encoder.close(terminal)), Frame(None, "\r\n]")]

    def copy(self) -> ArrayEncoder:
        twin = object.__new__(ArrayEncoder)
        twin._encoder, twin._begun = self._encoder.copy(), self._begun
        return twin

    def _begin(self) -> list[Frame]:
        if self._begun:
            return []
        self._begun = True
        return [Frame(None, "[" + self._encoder.part(0, '{"text":""}').data)]


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body, which is an array of one here."""
    return b"[" + errors.error_body(failure, status) + b"]"


def _elements(frames: list[Frame]) -> list[Frame]:
    return [Frame(None, ",\r\n" + frame.data) for frame in frames]
