"""Structured output: the type or the JSON Schema that a user wants, and how the answer becomes a value of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from tokenwire.library.partial import TypedPartial
from tokenwire.wire.json_schema import JsonSchema
from tokenwire.wire.partial_json import PartialJson
from tokenwire.wire.unfenced import Unfenced

T = TypeVar("T")

#: What stands for "no value yet": JSON has a None of its own.
NOTHING: Any = object()


class Output(Generic[T]):
    """What the answer's text is to be.

    Args:
        wanted: a type (``TypedPartial`` says which), a JSON Schema, or None for any JSON.

    Raises ``InvalidSchema`` for a type or a schema that cannot be used.
    """

    def __init__(self, wanted: type[T] | Mapping[str, Any] | None) -> None:
        self._type: type[T] | None = None
        self._schema: JsonSchema | None = None
        self._name = "output"
        if isinstance(wanted, Mapping):
            self._schema = JsonSchema(wanted)
        elif wanted is not None:
            self._type = wanted
            self._schema = JsonSchema(TypedPartial(wanted).schema)
            self._name = re.sub(r"[^a-zA-Z0-9_-]", "_", getattr(wanted, "__name__", "output"))[:64]

    @property
    def asked(self) -> dict[str, Any] | None:
        """As ``response_format`` of a chat request; None where any JSON will do. Strict where the type allows it."""
        if self._schema is None:
            return None
        strict = None if self._type is None else TypedPartial(self._type).strict_schema()
        wanted = {"name": self._name, "schema": self._schema.schema if strict is None else strict}
        return {"type": "json_schema", "json_schema": wanted if strict is None else {**wanted, "strict": True}}

    def growth(self) -> Growth[T]:
        """For one answer that is to come."""
        return Growth(self._type, self._schema)

    def value(self, text: str) -> T:
        """The value of a whole *text*, in a fence or with prose around it, too.

        Raises ``InvalidJson`` or ``SchemaViolation``.
        """
        growth = self.growth()
        growth.feed(text)
        return growth.close()


class Growth(Generic[T]):
    """The value of one text that comes in pieces, judged while it comes."""

    def __init__(self, type_: type[T] | None, schema: JsonSchema | None) -> None:
        self._typed = None if type_ is None else TypedPartial(type_)
        self._unfenced = Unfenced()
        self._parser = PartialJson(schema=schema)

    def feed(self, text: str) -> T:
        """Take the next piece; the value as far as it is known, ``NOTHING`` where the piece brought none.

        Raises ``InvalidJson`` at the first character that cannot be right, ``SchemaViolation`` at the first token that
        cannot be allowed.
        """
        json = self._unfenced.feed(text)
        events = self._parser.feed(json) if json else ()
        return self._shown() if events else NOTHING

    def close(self) -> T:
        """The text is over: its value, validated. Raises what ``feed`` does, ``IncompleteJson`` if it was cut."""
        rest = self._unfenced.close()
        if rest:
            self._parser.feed(rest)
        self._parser.close()
        value = self._parser.value()
        if self._typed is None:
            done: T = value
            return done
        return self._typed.final(_quoted(value))

    def _shown(self) -> T:
        value = self._parser.value(NOTHING)
        if value is NOTHING or self._typed is None:
            return value  # type: ignore[no-any-return]
        known = self._typed.growing(value, open_string=self._parser.open_string)
        return NOTHING if known is None else known


def _quoted(value: Any) -> Any:
    """*value* as ``TypedPartial.final`` wants it: a string as JSON text."""
    if isinstance(value, str):
        return json.dumps(value)
    return value
