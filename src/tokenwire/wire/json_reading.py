"""Where a push parser of JSON is, and the value that it builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenwire.errors import InvalidJson, SchemaViolation
from tokenwire.wire import json_scan
from tokenwire.wire.json_events import Chain, Completed, Growing, PathEvent, Started

if TYPE_CHECKING:
    from tokenwire.wire.json_judge import Judge

# What is read next.
VALUE, FIRST_ITEM, FIRST_NAME, NAME, COLON, NEXT, STRING, NAME_BODY, NUMBER, WORD, OVER = range(11)


class Reading:
    """The state of a parser; the steps that change it are those of `Grammar`."""

    __slots__ = (
        "_at", "_chain", "_container", "_events", "_failure", "_half", "_held", "_here", "_judge", "_line",
        "_line_start", "_max_depth", "_offset", "_parts", "_root", "_row", "_slot", "_stack", "_state", "_word",
    )  # fmt: skip

    def __init__(self, judge: Judge | None, max_depth: int) -> None:
        self._judge = judge
        self._max_depth = max_depth
        self._failure: InvalidJson | SchemaViolation | None = None
        self._state = VALUE
        self._events: list[PathEvent] = []
        # Where we are. The root stands in a list of its own, which is no place.
        self._root: list[Any] = []
        self._container: Any = self._root
        self._chain: Chain | None = None  # the container's
        self._slot: Any = 0  # the name or position in the container of the value at hand
        self._here: Chain = ()  # where the string at hand is
        self._stack: list[tuple[Any, Chain | None]] = []
        # What is unfinished.
        self._parts: list[str] = []  # of a string, those that are not in its container yet; of a number, all
        self._half = ""  # a high surrogate that the string ended in so far
        self._held = ""  # a cut escape
        self._row = json_scan.START  # of the number at hand
        self._word: tuple[str, bool | None] = ("", None)  # what is left of the literal at hand, and its value
        # Where the text at hand begins, for errors.
        self._offset = 0
        self._line = 1
        self._line_start = 0
        self._at = 0

    def _begin(self, kind: Growing, empty: Any, position: int) -> Chain:
        """Put a value that will grow into its container, and say so."""
        if self._judge is not None:
            self._at = position
            self._judge.start(kind)
        container = self._container
        if type(container) is list:
            self._slot = len(container)
            container.append(empty)
        else:
            container[self._slot] = empty
        chain = () if self._chain is None else (self._chain, self._slot)
        self._events.append(Started(chain, kind))
        return chain

    def _open(self, kind: Growing, empty: Any, text: str, position: int) -> None:
        if len(self._stack) >= self._max_depth:
            raise self._wrong(text, position, f"nested deeper than {self._max_depth} levels", blame=False)
        chain = self._begin(kind, empty, position)
        self._stack.append((self._container, self._chain))
        self._container = empty
        self._chain = chain

    def _scalar(self, value: Any) -> None:
        """A number or a literal is over."""
        if self._judge is not None:
            self._judge.end(value)
        container = self._container
        if type(container) is list:
            self._slot = len(container)
            container.append(value)
        else:
            container[self._slot] = value
        self._events.append(Completed(() if self._chain is None else (self._chain, self._slot), value))
        self._state = NEXT if self._stack else OVER

    def _close_container(self, position: int) -> int:
        value = self._container
        if self._judge is not None:
            self._at = position
            self._judge.end(value)
        assert self._chain is not None
        self._events.append(Completed(self._chain, value))
        self._container, self._chain = self._stack.pop()
        self._state = NEXT if self._stack else OVER
        return position + 1

    def _show(self) -> None:
        """Put the new pieces of the open string where it stands.

        It is taken out of its place first: with one reference left CPython makes a str longer where it is, so that
        asking after each piece costs the pieces, not the string.
        """
        container, slot = self._container, self._slot
        more = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
        self._parts = []
        text = container[slot]
        container[slot] = None
        text += more
        container[slot] = text

    # -- errors

    def _place(self, text: str, position: int) -> tuple[int, int, int]:
        """(offset, line, column) of a character of the text at hand."""
        offset = self._offset + position
        start = text.rfind("\n", 0, position)
        if start < 0:
            return offset, self._line, offset - self._line_start + 1
        return offset, self._line + text.count("\n", 0, position), position - start

    def _wrong(self, text: str, position: int, problem: str, *, blame: bool = True) -> InvalidJson:
        """The error to raise; *blame* if it is the character's fault that stands there."""
        offset, line, column = self._place(text, position)
        character = text[position] if blame else None
        self._failure = InvalidJson(problem, offset=offset, line=line, column=column, character=character)
        return self._failure
