"""What a vendor remembers of its answers, for requests that name one by its id."""

from __future__ import annotations

from collections import OrderedDict

#: Answers that are remembered, and the tokens of all of them: beyond either the oldest are forgotten.
MOST = 256
MOST_TOKENS = 2_000_000


class Memory:
    """The last answers by their ids."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[object, int]] = OrderedDict()
        self._tokens = 0

    def keep(self, name: str, value: object, tokens: int) -> None:
        """Remember *value*, which has *tokens* tokens, in place of what was kept under *name*."""
        self.drop(name)
        self._kept[name] = (value, tokens)
        self._tokens += tokens
        while len(self._kept) > MOST or self._tokens > MOST_TOKENS:
            self._tokens -= self._kept.popitem(last=False)[1][1]

    def get(self, name: str) -> object | None:
        """What was kept under *name*; None if it was not, or is forgotten."""
        entry = self._kept.get(name)
        return entry[0] if entry else None

    def drop(self, name: str) -> None:
        """Forget *name*, if it is known."""
        entry = self._kept.pop(name, None)
        if entry:
            self._tokens -= entry[1]
