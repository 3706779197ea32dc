"""Requests, member by member: what was read is known, what is left over is told apart from it.

A reader asks for the members that it knows, each by its type. What it did not ask for is left over, under the caller's
name of it (``messages.2.content.0.cache_control``), and never lost from sight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tokenwire.dialects.json_text import loads, scrub
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msgspec import Raw

T = TypeVar("T")


class Fields:
    """An object of a request. null and missing are the same, as the vendors have it.

    Args:
        data: the value that should be an object.
        where: its path; "" for the request itself.

    Attributes:
        value: the object.
        where: its path.

    Raises:
        RequestRefused: 400, naming the member: *data* is no object. All methods raise it, for a wrong type.
    """

    __slots__ = ("_read", "value", "where")

    def __init__(self, data: Any, where: str = "") -> None:
        if not isinstance(data, dict):
            raise refused(f"{where!r} must be an object", where or None)
        self.value = data
        self._read: set[str] = set()
        self.where = where

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.where}.{name}" if self.where else name

    def any(self, name: str) -> Any:
        self._read.add(name)
        return self.value.get(name)

    def text(self, name: str) -> str | None:
        return self._typed(name, str, "a string")

    def need(self, name: str) -> str:
        """A string that must be there."""
        value = self.text(name)
        if value is None:
            raise refused(f"{self.at(name)!r} is missing", self.at(name))
        return value

    def word(self, name: str, *words: str) -> str | None:
        """One of *words*."""
        value = self.text(name)
        if value is not None and value not in words:
            raise refused(f"{self.at(name)!r} must be one of {', '.join(words)}", self.at(name))
        return value

    def whole(self, name: str) -> int | None:
        return self._typed(name, int, "a whole number")

    def number(self, name: str) -> float | None:
        value = self.any(name)
        return float(value) if type(value) is float else self._typed(name, int, "a number")

    def flag(self, name: str) -> bool | None:
        return self._typed(name, bool, "a boolean")

    def array(self, name: str) -> list[Any]:
        """The array, an empty one if it is missing."""
        return self._typed(name, list, "an array") or []

    def texts(self, name: str) -> list[str]:
        """An array of strings."""
        values = self.array(name)
        if not all(isinstance(value, str) for value in values):
            raise refused(f"{self.at(name)!r} must be an array of strings", self.at(name))
        return values

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object that is passed on as it is."""
        return self._typed(name, dict, "an object")

    def object(self, name: str) -> Fields | None:
        value = self.mapping(name)
        return None if value is None else Fields(value, self.at(name))

    def objects(self, name: str) -> Iterator[Fields]:
        """The entries of an array of objects."""
        for position, value in enumerate(self.array(name)):
            yield Fields(value, f"{self.at(name)}.{position}")

    def rest(self) -> dict[str, Any]:
        """What was not asked for, by path."""
        return {
            self.at(name): value for name, value in self.value.items() if name not in self._read and value is not None
        }

    def _typed(self, name: str, kind: type[T], noun: str) -> T | None:
        value = self.any(name)
        if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        raise refused(f"{self.at(name)!r} must be {noun}", self.at(name))


def fields_of(members: Mapping[str, Raw]) -> Fields:
    """The members of a request, decoded; half characters in them are U+FFFD.

    Raises:
        RequestRefused: 400, for a member that is no JSON.
    """
    data: dict[str, Any] = {}
    for name, raw in members.items():
        try:
            value, torn = loads(bytes(raw).decode())
            data[name] = scrub(value) if torn else value
        except (ValueError, RecursionError) as error:
            raise refused(f"{name!r} is not valid JSON: {error}", name) from error
    return Fields(data)
