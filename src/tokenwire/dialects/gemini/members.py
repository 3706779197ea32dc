"""Members of an object of a request, taken one by one under either of their two names."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.json_text import NOTHING
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from tokenwire.errors import RequestRefused

_CAPITAL: Final = re.compile(r"[A-Z]")


@cache
def snake(name: str) -> str:
    """*name*, one of ours, in snake_case."""
    return _CAPITAL.sub(lambda letter: "_" + letter.group().lower(), name)


class Members:
    """An object's members. What is taken is understood; what is left in the end is not (``rest``).

    Attributes:
        where: the caller's name of the object, empty for the body itself.
    """

    __slots__ = ("_fields", "where")

    def __init__(self, fields: dict[str, Any], where: str = "") -> None:
        self._fields = fields
        self.where = where

    @classmethod
    def of(cls, value: Any, where: str) -> Members:
        """The members of *value*. Raises ``RequestRefused`` (400) if it is no object."""
        if not isinstance(value, dict):
            raise refused(f"{where!r} must be an object", where)
        return cls(dict(value), where)

    def take(self, *names: str) -> Any:
        """The member of the first of *names* (in camelCase) that is there, which may be written in snake_case."""
        found = None
        for name in names:
            for spelled in (name, snake(name)):
                value = self._fields.pop(spelled, None)
                found = value if found is None else found
        return found

    def inner(self, name: str) -> Members:
        """A member that is an object; one without members if it is not there."""
        value = self.take(name)
        return Members({} if value is None else self._object(name, value), self.name(name))

    def items(self, name: str) -> list[Any]:
        """A member that is an array; an empty one if it is not there."""
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "an array")
        return value

    def text(self, name: str) -> str | None:
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "a boolean")
        return value

    def number(self, name: str, *, whole: bool = False) -> Any:
        """A number, *whole* if it must be: ``40.0`` is (google-genai sends topK so)."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        if not whole:
            return value
        if value != value // 1:
            raise self.wrong(name, "a whole number")
        return int(value)

    def rest(self, *, empty: bool = False) -> dict[str, Any]:
        """What was not taken and says something, by the caller's names. *empty*: an empty object does, too."""
        left = self._fields.items()
        return {self.name(name): value for name, value in left if value not in NOTHING or (empty and value == {})}

    def name(self, member: str) -> str:
        """The caller's name of a member."""
        return f"{self.where}.{member}" if self.where else member

    def wrong(self, name: str, what: str) -> RequestRefused:
        """400: that member must be *what*."""
        where = self.name(name)
        return refused(f"{where!r} must be {what}", where)

    def _object(self, name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return dict(value)
