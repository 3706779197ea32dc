"""JSON Schema, draft 2020-12, made ready to judge values while they come.

What is done with each keyword, so that nobody is told "valid" by a judge that did not look:

- judged: ``type enum const``, ``minLength maxLength pattern``, ``minimum maximum exclusiveMinimum exclusiveMaximum
  multipleOf``, ``prefixItems items contains minContains maxContains minItems maxItems uniqueItems unevaluatedItems``,
  ``properties patternProperties additionalProperties propertyNames required minProperties maxProperties
  dependentRequired dependentSchemas unevaluatedProperties``, ``allOf anyOf oneOf not if then else``, ``$ref`` within
  the schema (``#``, ``#/…`` and ``#anchor``) with ``$defs`` and ``$anchor``;
- ``format``: judged where *formats* has a function for it, an annotation otherwise (Validation, section 7.2.1);
- refused, because to ignore it would allow what its author forbids: ``$ref`` to other documents, ``$id`` below the root
  (it would move the references), ``$dynamicRef`` and ``$recursiveRef``, and what older drafts wrote otherwise:
  ``dependencies``, a list as ``items``, a boolean as ``exclusiveMinimum`` or ``exclusiveMaximum``; a pattern that
  Python cannot read (``\\p{…}``);
- ignored, as the standard has it (Core, section 6.5): everything else, such as ``title``, ``description``, ``default``,
  ``contentEncoding`` and words of other people.

Patterns are searched by Python's `re`, whose ``$`` also stands before a last line feed. A name that is given twice is
judged each time, though the last value counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenwire.errors import InvalidSchema, SchemaViolation
from tokenwire.wire.json_check import Violated
from tokenwire.wire.json_events import path_of, pointer_of
from tokenwire.wire.json_judge import Judge
from tokenwire.wire.json_node import KINDS
from tokenwire.wire.json_schema_reader import Reader


class JsonSchema:
    """A schema that can judge any number of values, one after the other or at once.

    Args:
        schema: the schema, as JSON gives it. It must not change afterwards.
        formats: for each ``format`` that is to be judged, whether a string has it.
    Raises:
        InvalidSchema: it is no schema, or holds what is refused (see above).
    """

    __slots__ = ("_root", "schema")

    def __init__(self, schema: Mapping[str, Any] | bool, *, formats: Mapping[str, Callable[[str], bool]] | None = None):
        self.schema = schema
        try:
            self._root = Reader(schema, formats or {}).root()
        except RecursionError:
            raise InvalidSchema("it is nested too deeply") from None

    def judge(self) -> Judge:
        """A judge of one value that is to come."""
        return Judge(self._root)

    def check(self, value: Any) -> None:
        """Judge a whole value, as `json.loads` gives it.

        Raises:
            SchemaViolation: it is not allowed.
        """
        try:
            _walk(self.judge(), value)
        except Violated as violated:
            path, broken = path_of(violated.chain), violated.broken
            raise SchemaViolation(path, pointer_of(path), *broken) from None


def _walk(judge: Judge, value: Any) -> None:
    judge.start(KINDS[type(value)])
    if type(value) is str:
        judge.text(value)
    elif type(value) is list:
        for item in value:
            _walk(judge, item)
    elif type(value) is dict:
        for name, item in value.items():
            judge.key(name)
            _walk(judge, item)
    judge.end(value)
