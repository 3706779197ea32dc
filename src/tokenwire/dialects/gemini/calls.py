"""Arguments of a call that Vertex streams: entries that name a place in the object and what stands there.

``{"jsonPath":"$.a.b[0]","stringValue":"x","willContinue":true}``: strings come in fragments, everything else whole; an
entry without a value is an empty array if its path ends in ``[]``, else an empty object, unless something stands there
(reference, section 6.4, Q62). The entries are kept as they came and put together once, at the call's end.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tokenwire.dialects.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

_STEP: Final = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,9})\]|\['([^']*)'\]|\["([^"]*)"\]|(\[\])\Z""")

#: Names that mean the object's class in JavaScript: a client that sets them one by one would be taken over.
_UNSAFE: Final = frozenset({"__proto__", "prototype", "constructor"})

_DEEPEST: Final = 100
#: How far beyond an array's end an entry may write; nulls fill the gap.
_WIDEST_GAP: Final = 1000

Path: TypeAlias = list[str | int]


class StreamedCall:
    """A call whose arguments come in pieces. ``id`` is the provider's own."""

    __slots__ = ("block", "entries", "id", "whole")

    def __init__(self, block: int, id: str | None) -> None:
        self.block = block
        self.id = id
        self.whole: dict[str, Any] | None = None  # arguments that came at once, after all
        self.entries: Pieces[dict[str, Any]] = Pieces()

    def feed(self, fields: dict[str, Any]) -> None:
        """One ``functionCall`` of the call: its entries, or its arguments."""
        entries = fields.get("partialArgs")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                self.entries.append(entry)
        if isinstance(args := fields.get("args"), dict) and args:
            self.whole = args

    def arguments(self) -> dict[str, Any]:
        """The object. Raises ``ValueError`` if an entry fits nowhere: such a call must not be executed."""
        return {**(self.whole or {}), **fold(self.entries.items())}

    def copy(self) -> StreamedCall:
        twin = StreamedCall(self.block, self.id)
        twin.whole, twin.entries = self.whole, self.entries.copy()
        return twin


class _Text(list[str]):
    """A string in the making: its fragments."""


def fold(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The object that *entries* make. Those at names like ``__proto__`` are left out.

    Raises:
        ValueError: a path that is none, or one through a value that is neither object nor array.
    """
    root: dict[str, Any] = {}
    for entry in entries:
        path, array = _path(entry.get("jsonPath"))
        if not _UNSAFE.isdisjoint(path):
            continue
        place, last = _place(root, path)
        if "stringValue" in entry:
            _say(place, last, str(entry["stringValue"]))
        elif "numberValue" in entry or "boolValue" in entry:
            _put(place, last, entry.get("numberValue", entry.get("boolValue")))
        elif "nullValue" in entry:
            _put(place, last, None)
        elif _at(place, last) is None:
            _put(place, last, [] if array else {})
    joined: dict[str, Any] = _joined(root)
    return joined


def _path(text: Any) -> tuple[Path, bool]:
    """The steps of a path, and whether it ends in ``[]``."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise ValueError("no path")
    steps: Path = []
    position, array = 1, False
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None or len(steps) == _DEEPEST:
            raise ValueError("a path that is none")
        position = found.end()
        name, index, quoted, double, array_end = found.groups()
        if array_end is not None:
            array = True
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append(next(each for each in (name, quoted, double) if each is not None))
    if not steps or isinstance(steps[0], int):
        raise ValueError("arguments are an object")
    return steps, array


def _place(root: dict[str, Any], path: Path) -> tuple[Any, str | int]:
    """The object or array of the last step, made on the way where it is not there yet."""
    place: Any = root
    for step, following in pairwise(path):
        inner = _at(place, step)
        if inner is None:
            inner = [] if isinstance(following, int) else {}
            _put(place, step, inner)
        place = inner
    _at(place, path[-1])
    return place, path[-1]


def _at(place: Any, step: str | int) -> Any:
    """What stands there; None if nothing does."""
    if isinstance(place, dict) and isinstance(step, str):
        return place.get(step)
    if isinstance(place, list) and not isinstance(place, _Text) and isinstance(step, int):
        if step > len(place) + _WIDEST_GAP:
            raise ValueError("far beyond the array")
        return place[step] if step < len(place) else None
    raise ValueError("a path through a plain value")


def _put(place: Any, step: Any, value: Any) -> None:
    if isinstance(place, list):
        place.extend([None] * (step + 1 - len(place)))
    place[step] = value


def _say(place: Any, step: str | int, text: str) -> None:
    here = _at(place, step)
    if not isinstance(here, _Text):
        here = _Text()
        _put(place, step, here)
    here.append(text)


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(inner) for name, inner in value.items()}
    return [_joined(inner) for inner in value] if isinstance(value, list) else value
