"""What a decoder must number or name itself: the content blocks of a choice, and calls that came without an id."""

from __future__ import annotations

import hashlib


class Ids:
    """Ids of a stream's calls: the provider's where they are given and unique, else made from a counter.

    The seed (the id of the response) keeps the made ones apart between the turns of one conversation.
    """

    __slots__ = ("_count", "_used", "seed")

    def __init__(self) -> None:
        self.seed = ""
        self._used: set[str] = set()
        self._count = 0

    def unique(self, given: str | None) -> str:
        while given is None or given in self._used:
            digest = hashlib.sha256(f"{self.seed}/{self._count}".encode("utf-8", "replace"))
            given = f"call_{digest.hexdigest()[:24]}"
            self._count += 1
        self._used.add(given)
        return given

    def copy(self) -> Ids:
        twin = Ids()
        twin.seed, twin._used, twin._count = self.seed, set(self._used), self._count
        return twin


class Blocks:
    """Numbers the content blocks of a choice: a run of one kind keeps its number, each call has its own.

    ``last`` holds the newest block of each kind of run: what comes late (a signature, a citation) belongs to it.
    """

    __slots__ = ("_kind", "_next", "last")

    def __init__(self) -> None:
        self._next = 0
        self._kind = ""
        self.last: dict[str, int] = {}

    def run(self, kind: str) -> int:
        """The block of a piece of text, reasoning or refusal."""
        if kind != self._kind:
            self.last[kind] = self.fresh()
            self._kind = kind
        return self.last[kind]

    def fresh(self) -> int:
        """A block of its own; whatever was running is over."""
        self._kind = ""
        self._next += 1
        return self._next - 1

    def copy(self) -> Blocks:
        twin = Blocks()
        twin._next, twin._kind, twin.last = self._next, self._kind, dict(self.last)
        return twin
