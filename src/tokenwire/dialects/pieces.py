"""Append-only sequences with cheap copies: what a fold keeps of a long stream.

A fold is checkpointed every few hundred deltas. Copying lists would make that quadratic in the length of the stream;
here a copy seals what came since the last one, and shares everything sealed.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Pieces(Generic[T]):
    """An append-only sequence whose copies share what they have in common (a linked list of sealed runs)."""

    __slots__ = ("_sealed", "_tail")

    def __init__(self) -> None:
        self._sealed: tuple[Any, tuple[T, ...]] | None = None  # (older runs, this run)
        self._tail: list[T] = []

    def append(self, piece: T) -> None:
        self._tail.append(piece)

    def extend(self, pieces: list[T]) -> None:
        self._tail.extend(pieces)

    def items(self) -> list[T]:
        runs: list[tuple[T, ...]] = []
        node = self._sealed
        while node is not None:
            node, run = node
            runs.append(run)
        return [piece for run in reversed(runs) for piece in run] + self._tail

    def copy(self) -> Pieces[T]:
        if self._tail:
            self._sealed = (self._sealed, self._seal())
            self._tail = []
        twin = type(self)()
        twin._sealed = self._sealed
        return twin

    def _seal(self) -> tuple[T, ...]:
        return tuple(self._tail)


class Text(Pieces[str]):
    """Text that arrives in pieces; ``str()`` joins it. A sealed run is one string: a token of four bytes costs 53."""

    __slots__ = ()

    def __str__(self) -> str:
        return "".join(self.items())

    def copy(self) -> Text:
        twin = super().copy()
        assert isinstance(twin, Text)
        return twin

    def _seal(self) -> tuple[str, ...]:
        return ("".join(self._tail),)
