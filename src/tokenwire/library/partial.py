"""Structured output as the user's own types: a schema to ask with, instances as the answer grows, one at the end."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from tokenwire.errors import InvalidSchema, SchemaViolation
from tokenwire.library.growing import Growth
from tokenwire.library.strict_schema import strict_schema
from tokenwire.wire.json_events import Path, pointer_of
from tokenwire.wire.json_node import shown
from tokenwire.wire.json_schema import JsonSchema
from tokenwire.wire.partial_json import PartialJson

T = TypeVar("T")


class _Kit(NamedTuple):
    """What pydantic or msgspec knows of a type."""

    schema: dict[str, Any]
    convert: Callable[[Any], Any]


class TypedPartial(Generic[T]):
    """One value of a type, while it comes and when it is whole.

    For one value; a new one costs little, because what is known of the type is kept.

    Args:
        type_: a msgspec struct, a pydantic model, a dataclass, a ``TypedDict``, or any type that one of msgspec and
            pydantic knows: ``list[Item]``, ``dict[str, int]`` …
    Attributes:
        schema: the JSON Schema of the type.
    Raises:
        InvalidSchema: neither knows the type.
    """

    __slots__ = ("_convert", "_growth", "_type", "schema")

    def __init__(self, type_: type[T]) -> None:
        kit = _kit(type_)
        self.schema = kit.schema
        self._convert = kit.convert
        self._type = type_
        self._growth: Growth | None = None

    def growing(self, value: Any, *, open_string: bool = True) -> T | None:
        """An instance of as much as is known of *value*, which `PartialJson.value` gave; `Growth` says what is shown.

        Meant to be called after every piece: what is finished is built once, lists and dicts are filled in place. None
        while nothing is known.

        Args:
            value: the same object as in the call before, grown; another one begins anew.
            open_string: whether the last string of the value may still grow: `PartialJson.open_string`. If not, dates
                and the like are shown as soon as their text is whole, not only when something follows it.
        """
        if self._growth is None:
            self._growth = Growth(self._type)
        known: T | None = self._growth.of(value, open_string)
        return known

    def final(self, value: Any) -> T:
        """The instance of a whole value, strictly validated: a text that is no number is none.

        Args:
            value: the JSON text as a str or bytes, or what `PartialJson.value` gave. (A value that is itself a string
                has to be given as text, in quotes.)
        Raises:
            InvalidJson: the text is none.
            SchemaViolation: the value is not one of the type; it names the place.
        """
        if isinstance(value, str | bytes):
            parser = PartialJson(max_size=len(value))
            parser.feed(value.decode(errors="replace") if isinstance(value, bytes) else value)
            parser.close()
            value = parser.value()
        try:
            made: T = self._convert(value)
        except ValueError as error:
            raise self._violation(value, error) from error
        return made

    def strict_schema(self) -> dict[str, Any] | None:
        """The schema as OpenAI's ``strict`` wants it: objects closed, every name required; None if the type has no
        such schema."""
        return strict_schema(self.schema)

    def _violation(self, value: Any, error: ValueError) -> SchemaViolation:
        """Where *value* is wrong: by the schema, which knows the place best, or in the words of the validator."""
        try:
            JsonSchema(self.schema).check(value)
        except SchemaViolation as violation:
            return violation
        except InvalidSchema:  # a pattern of pydantic's, say, that Python does not read
            pass
        path, said = _said(value, error)
        return SchemaViolation(path, pointer_of(path), "value", said, shown(_at(value, path)))


def _said(value: Any, error: ValueError) -> tuple[Path, str]:
    """Where and what is wrong, in the words of the validator."""
    if isinstance(error, msgspec.ValidationError):
        said, _, place = str(error).partition(" - at `")
        steps: list[str | int] = []
        for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", place):
            steps.append(int(index) if index else name)
        return tuple(steps), said[:1].lower() + said[1:]
    first = getattr(error, "errors", lambda: [{"loc": (), "msg": str(error)}])()[0]
    path: Path = ()
    for step in first["loc"]:  # names of union members and validators are among them
        if _at(value, (*path, step), missing=_MISSING) is not _MISSING:
            path = (*path, step)
    return path, str(first["msg"])


_MISSING = object()


def _at(value: Any, path: Path, missing: Any = None) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return missing
    return value


def _kit(type_: Any) -> _Kit:
    try:
        return _cached(type_)
    except TypeError:  # not hashable
        return _cached.__wrapped__(type_)


@functools.lru_cache(maxsize=256)
def _cached(type_: Any) -> _Kit:
    makers = (_msgspec, _pydantic) if _has_struct(type_) else (_pydantic, _msgspec)
    reasons = []
    for maker in makers:
        try:
            return maker(type_)
        except Exception as error:  # each library has a family of its own for types that it does not know
            reasons.append(str(error).partition("\n")[0])
    raise InvalidSchema(f"{type_!r} has no JSON Schema: {reasons[0]}")


def _has_struct(type_: Any) -> bool:
    plain = get_origin(type_) or type_
    return (isinstance(plain, type) and issubclass(plain, msgspec.Struct)) or any(map(_has_struct, get_args(type_)))


def _msgspec(type_: Any) -> _Kit:
    return _Kit(msgspec.json.schema(type_), lambda value: msgspec.convert(value, type_, str_keys=True))


def _pydantic(type_: Any) -> _Kit:
    from pydantic import TypeAdapter  # heavy, and users of structs do without

    adapter = TypeAdapter(type_)
    # As JSON, where a text may be a date even if strict.
    return _Kit(adapter.json_schema(), lambda value: adapter.validate_json(json.dumps(value), strict=True))
