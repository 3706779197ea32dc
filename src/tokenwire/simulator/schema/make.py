"""Build a value for a schema, top down, in bounded work."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, Any

from tokenwire.simulator.schema.check import (
    Schema,
    SchemaError,
    UnsatisfiableError,
    matches,
    same,
    schemas_of_property,
    types_of,
)
from tokenwire.simulator.schema.merge import Flat, flatten
from tokenwire.simulator.schema.numbers import number_for
from tokenwire.simulator.schema.patterns import text_for
from tokenwire.simulator.schema.strings import Hints, string_for

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Most schema nodes that one value may visit: about a quarter of a second of work, and far above any honest
#: schema.
MAX_NODES = 20_000
# From here on only what is required: optional properties and extra items stop, so recursive schemas end.
_FRUGAL_DEPTH = 4
_FRUGAL_NODES = 500
_DEEPEST = 40
_ATTEMPTS = 12

_EXTRA_NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


def value_for(schema: Schema, seed: int, hints: Hints | None = None) -> Any:
    """A value that satisfies *schema*; the same arguments give the same value.

    Args:
        schema: the schema, with its own definitions; it is the root of its references.
        seed: decides between what the schema leaves open.
        hints: what the prompt offers, for strings and enumerations.

    Raises:
        UnsatisfiableError: nothing satisfies it, or nothing within the bounds of this module.
        SchemaError: it isn't a schema.
    """
    maker = _Maker(schema, random.Random(seed), hints or Hints())
    try:
        value = maker.value(schema, "", 0)
        if matches(value, schema, schema):
            return value
    except (SchemaError, UnsatisfiableError):
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        # A keyword with a value of the wrong type fails in dozens of places; all of them mean the same to the
        # client.
        raise SchemaError(f"not a valid schema: {error}") from error
    raise UnsatisfiableError("no value was found for this schema")


class _Maker:
    """The state of one call: how much work was done, and how deep we are in our own recursion."""

    def __init__(self, root: Schema, rng: random.Random, hints: Hints) -> None:
        self.root = root
        self.rng = rng
        self.hints = hints
        self.nodes = 0
        self.level = 0

    def value(self, schema: Schema, name: str, depth: int) -> Any:
        """A value for *schema*, that of the property *name*, *depth* containers below the top."""
        self.nodes += 1
        if self.nodes > MAX_NODES or self.level > _DEEPEST * 2 or depth > _DEEPEST:
            raise UnsatisfiableError("the schema asks for a value that is too large or has no end")
        flat = flatten(schema, self.root)
        self.level += 1
        try:
            for _ in range(_ATTEMPTS if flat.check else 1):
                value = self._decide(flat, name, depth)
                if not flat.check or matches(value, schema, self.root):
                    return value
        finally:
            self.level -= 1
        raise UnsatisfiableError("no value was found that satisfies all conditions at once")

    def _decide(self, flat: Flat, name: str, depth: int) -> Any:
        if not flat.choices:
            return self._plain(flat.core, name, depth)
        first, *rest = flat.choices
        refused = UnsatisfiableError("none of the alternatives can be satisfied")
        for option in self._ordered(first, depth):
            try:
                return self.value({"allOf": [flat.core, option, *({"anyOf": each} for each in rest)]}, name, depth)
            except UnsatisfiableError as error:
                refused = error
        raise refused

    def _ordered(self, options: list[Schema], depth: int) -> list[Schema]:
        """Alternatives in the order of trying: simple ones first when deep, else null last."""
        shuffled = self.rng.sample(options, len(options))
        if self._frugal(depth):
            return sorted(shuffled, key=_weight)
        return sorted(shuffled, key=lambda each: isinstance(each, dict) and each.get("type") == "null")

    def _frugal(self, depth: int) -> bool:
        return depth >= _FRUGAL_DEPTH or self.nodes > _FRUGAL_NODES

    def _plain(self, core: dict[str, Any], name: str, depth: int) -> Any:
        if "const" in core or "enum" in core:
            return self._listed(core)
        names = types_of(core) or [_inferred(core)]
        refused = UnsatisfiableError("no type is left")
        for kind in sorted(self.rng.sample(names, len(names)), key="null".__eq__):
            try:
                return self._typed(kind, core, name, depth)
            except UnsatisfiableError as error:
                refused = error
        raise refused

    def _listed(self, core: dict[str, Any]) -> Any:
        """One of the values that the schema lists; one that the prompt mentions if there is any."""
        listed = [core["const"]] if "const" in core else core["enum"]
        allowed = [each for each in listed if matches(each, core, self.root)]
        if not allowed:
            raise UnsatisfiableError("none of the listed values is allowed")
        prompt = self.hints.prompt.lower()
        mentioned = [each for each in allowed if isinstance(each, str) and each and each.lower() in prompt]
        return self.rng.choice(mentioned or allowed)

    def _typed(self, kind: str, core: dict[str, Any], name: str, depth: int) -> Any:
        if kind == "object":
            return self._object(core, depth)
        if kind == "array":
            return self._array(core, name, depth)
        if kind == "string":
            return string_for(core, name, self.hints, self.rng)
        if kind == "boolean":
            return self.rng.random() < 0.5
        return None if kind == "null" else number_for(core, kind == "integer", self.rng)

    # Objects

    def _object(self, core: dict[str, Any], depth: int) -> dict[str, Any]:
        frugal = self._frugal(depth)
        share = 0.0 if frugal else (0.9, 0.8, 0.5, 0.3)[depth]
        declared = core.get("properties", {})
        needed = _with_needs(core, core.get("required", []))
        wished = _with_needs(core, [n for n in declared if n in needed or self.rng.random() < share])
        room = core.get("maxProperties", math.inf)
        value: dict[str, Any] = {}
        for name in [*(n for n in declared if n in wished), *(n for n in needed if n not in declared)]:
            missing = sum(other not in value for other in needed)
            if name in needed or len(value) + missing < room:
                self._property(value, core, name, depth, optional=name not in needed)
        least = core.get("minProperties", 0)
        if not frugal and not declared and _is_map(core):
            least = max(least, min(2, room))
        self._fill(value, core, [n for n in declared if n not in value], least, depth)
        return value

    def _property(self, value: dict[str, Any], core: dict[str, Any], name: str, depth: int, *, optional: bool) -> None:
        try:
            if not matches(name, core.get("propertyNames", True), self.root):
                raise UnsatisfiableError(f"the property {name!r} is required, and its name is not allowed")
            value[name] = self.value({"allOf": schemas_of_property(core, name)}, name, depth + 1)
        except UnsatisfiableError:
            if not optional:
                raise

    def _fill(self, value: dict[str, Any], core: dict[str, Any], spare: list[str], least: int, depth: int) -> None:
        """Add properties until there are *least*: declared ones first, then invented names."""
        wanted = core.get("minProperties", 0)
        for name in itertools.chain(spare, self._invented(core, least)):
            if len(value) >= least:
                return
            if name not in value and (name not in spare or len(value) < wanted):
                self._property(value, core, name, depth, optional=True)
        if len(value) < wanted:
            raise UnsatisfiableError(f"no {wanted} properties could be found")

    def _invented(self, core: dict[str, Any], least: int) -> Iterable[str]:
        patterns = list(core.get("patternProperties", {}))
        for i in range(min(4 * least, MAX_NODES)):
            if "propertyNames" in core:
                yield self.value({"allOf": [{"type": "string"}, core["propertyNames"]]}, "", 1)
            elif patterns and i % 2 == 0:
                yield text_for(patterns[i // 2 % len(patterns)], 0, None, self.rng)
            else:
                yield _EXTRA_NAMES[i % len(_EXTRA_NAMES)] + (str(i) if i >= len(_EXTRA_NAMES) else "")

    # Arrays

    def _array(self, core: dict[str, Any], name: str, depth: int) -> list[Any]:
        prefix, rest = core.get("prefixItems", []), core.get("items", True)
        needle = core.get("contains")
        hits = core.get("minContains", 1) if needle is not None else 0
        least = max(core.get("minItems", 0), hits)
        most = core.get("maxItems", MAX_NODES)
        if least > min(most, MAX_NODES):
            raise UnsatisfiableError(f"no array has {least} to {most} items here")
        want = least if self._frugal(depth) else max(least, min(most, len(prefix) or self.rng.randint(1, 3)))
        items: list[Any] = []
        for i in range(want):
            schema = prefix[i] if i < len(prefix) else rest
            if want - i <= hits:
                schema = {"allOf": [schema, needle]}
            try:
                items.append(self._distinct(schema, items if core.get("uniqueItems") else [], name, depth + 1))
            except UnsatisfiableError:
                if len(items) < least:
                    raise
                break
        return items

    def _distinct(self, schema: Schema, others: list[Any], name: str, depth: int) -> Any:
        for _ in range(_ATTEMPTS * 2):
            value = self.value(schema, _singular(name), depth)
            if not any(same(value, other) for other in others):
                return value
        raise UnsatisfiableError("the items cannot all be different")


def _singular(name: str) -> str:
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")


def _weight(schema: Schema) -> int:
    """A guess at how much an alternative brings with it."""
    if not isinstance(schema, dict) or "const" in schema or "enum" in schema:
        return 0
    if "allOf" in schema:
        return max(map(_weight, schema["allOf"]), default=0)
    kind = schema.get("type", "array" if "items" in schema else None)
    return {"array": 1, "object": 2, None: 3}.get(kind if isinstance(kind, str) else None, 0)


def _inferred(core: dict[str, Any]) -> str:
    """The type that the other keywords are about; a string if they are about none."""
    for kind, words in (
        ("object", ("properties", "required", "additionalProperties", "patternProperties", "minProperties")),
        ("array", ("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems")),
        ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    ):
        if any(word in core for word in words):
            return kind
    return "string"


def _is_map(core: dict[str, Any]) -> bool:
    return isinstance(core.get("additionalProperties"), dict) or bool(core.get("patternProperties"))


def _with_needs(core: dict[str, Any], names: list[str]) -> list[str]:
    """*names* and what they depend on (``dependentRequired``), in order of appearance."""
    needs = core.get("dependentRequired", {})
    found: list[str] = []
    todo = list(reversed(names))
    while todo:
        name = todo.pop()
        if name not in found:
            found.append(name)
            todo += reversed(needs.get(name, []))
    return found
