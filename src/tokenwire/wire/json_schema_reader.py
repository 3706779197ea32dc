"""Reads a JSON Schema into nodes; `json_schema` says what becomes of each keyword."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from tokenwire.errors import InvalidSchema
from tokenwire.wire.json_events import pointer_of
from tokenwire.wire.json_node import ALWAYS, KINDS, NEVER, Node, canonical, shown

T = TypeVar("T")

_TYPES: Final = ("null", "boolean", "string", "array", "object", "number", "integer")
_REFUSED: Final = {
    "$dynamicRef": "$dynamicRef is not supported",
    "$recursiveRef": "$recursiveRef is not supported",
    "dependencies": "since draft 2019-09 it is dependentRequired or dependentSchemas",
}
_BOUNDS: Final[tuple[tuple[str, Callable[[float, float], bool], str], ...]] = (
    ("minimum", operator.ge, "at least"),
    ("exclusiveMinimum", operator.gt, "more than"),
    ("maximum", operator.le, "at most"),
    ("exclusiveMaximum", operator.lt, "less than"),
)


class Reader:
    """Reads one schema with all that it refers to."""

    def __init__(self, schema: Any, formats: Mapping[str, Callable[[str], bool]]) -> None:
        self.schema = schema
        self.formats = formats
        self.nodes: dict[int, Node] = {}
        self.anchors: dict[str, Any] | None = None

    def root(self) -> Node:
        node = self.node(self.schema, "")
        _refuse_circles(self.nodes.values())
        return node

    def node(self, schema: Any, at: str) -> Node:
        seen = []
        while isinstance(schema, Mapping) and "$ref" in schema and len(schema) == 1:  # nothing but another name
            if schema in seen:
                raise InvalidSchema("references that lead to each other", pointer=at)
            seen.append(schema)
            schema = self.resolve(schema["$ref"], at)
        if isinstance(schema, bool):
            return ALWAYS if schema else NEVER
        if not isinstance(schema, Mapping):
            raise InvalidSchema(f"a schema is an object, true or false, not {shown(schema)}", pointer=at)
        node = self.nodes.get(id(schema))
        if node is None:
            node = self.nodes[id(schema)] = Node()
            _Filler(self, schema, at).fill(node)
        return node

    def resolve(self, ref: object, at: str) -> Any:
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise InvalidSchema(f"only references within the schema are followed, not {ref!r}", pointer=at)
        fragment = unquote(ref[1:])
        if fragment and not fragment.startswith("/"):
            if self.anchors is None:
                self.anchors = dict(_anchors(self.schema))
            if fragment not in self.anchors:
                raise InvalidSchema(f"the anchor {fragment!r} does not exist", pointer=at)
            return self.anchors[fragment]
        target = self.schema
        for part in fragment.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")  # RFC 6901, section 4: in this order
            try:
                target = target[int(name)] if isinstance(target, list) else target[name]
            except (KeyError, ValueError, IndexError, TypeError):
                raise InvalidSchema(f"the reference {ref!r} leads nowhere", pointer=at) from None
        return target


def _anchors(schema: Any) -> list[tuple[str, Any]]:
    found = []
    left = [schema]
    while left:
        each = left.pop()
        if isinstance(each, Mapping):
            found += [(each[word], each) for word in ("$anchor", "$dynamicAnchor") if isinstance(each.get(word), str)]
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found


def _refuse_circles(nodes: Any) -> None:
    """A schema that judges a value by judging the same value first would never come to an end."""
    done: set[int] = set()
    for start in nodes:
        way: list[tuple[Node, int]] = [(start, 0)]
        open_: set[int] = {id(start)}
        while way:
            node, step = way.pop()
            if step < len(node.in_place) and id(node) not in done:
                way.append((node, step + 1))
                then = node.in_place[step]
                if id(then) in open_:
                    raise InvalidSchema("a schema refers to itself for the same value")
                open_.add(id(then))
                way.append((then, 0))
            else:
                open_.discard(id(node))
                done.add(id(node))


class _Filler:
    """Reads the members of one schema object."""

    def __init__(self, reader: Reader, schema: Mapping[str, Any], at: str) -> None:
        self.reader = reader
        self.schema = schema
        self.at = at
        for word, why in _REFUSED.items():
            if word in schema:
                raise InvalidSchema(why, pointer=f"{at}/{word}")
        if "$id" in schema and at:
            raise InvalidSchema("$id below the root is not supported", pointer=at)

    def take(self, word: str, kind: type[T] | tuple[type[T], ...], what: str) -> T | None:
        value = self.schema.get(word)
        if value is None and word not in self.schema:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidSchema(f"{word} has to be {what}, not {shown(value)}", pointer=f"{self.at}/{word}")
        return value

    def limit(self, word: str) -> float | None:
        value = self.take(word, (int, float), "a number")
        if value is not None and (value < 0 or value != int(value)):
            raise InvalidSchema(f"{word} has to be a whole number, not {shown(value)}", pointer=f"{self.at}/{word}")
        return value

    def names(self, word: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise InvalidSchema(f"{word} has to be a list of names", pointer=f"{self.at}/{word}")
        return tuple(value)

    def one(self, word: str) -> Node | None:
        if word not in self.schema:
            return None
        if word == "items" and isinstance(self.schema[word], list):
            raise InvalidSchema("a list as items is called prefixItems since 2020-12", pointer=f"{self.at}/items")
        return self.reader.node(self.schema[word], f"{self.at}/{word}")

    def several(self, word: str) -> tuple[Node, ...]:
        each = self.take(word, list, "a list of schemas") or ()
        return tuple(self.reader.node(schema, f"{self.at}/{word}/{i}") for i, schema in enumerate(each))

    def named(self, word: str) -> dict[str, Node]:
        each = self.take(word, dict, "an object of schemas") or {}
        return {name: self.reader.node(schema, self.at + pointer_of((word, name))) for name, schema in each.items()}

    def regex(self, word: str, pattern: str) -> re.Pattern[str]:
        try:
            return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern))  # ECMA 262's groups with names
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidSchema(
                f"Python cannot read the pattern {pattern!r}: {error}", pointer=f"{self.at}/{word}"
            ) from None

    def fill(self, node: Node) -> None:
        self.fill_scalars(node)
        node.prefix = self.several("prefixItems")
        node.items = self.one("items")
        node.min_items, node.max_items = self.limit("minItems"), self.limit("maxItems")
        node.unique = bool(self.take("uniqueItems", bool, "true or false"))
        node.contains = self.one("contains")
        least = self.limit("minContains")
        node.min_contains, node.max_contains = 1 if least is None else least, self.limit("maxContains")
        node.unevaluated_items = self.one("unevaluatedItems")
        node.properties = self.named("properties")
        node.patterns = tuple(
            (self.regex("patternProperties", pattern), each)
            for pattern, each in self.named("patternProperties").items()
        )
        node.additional = self.one("additionalProperties")
        node.property_names = self.one("propertyNames")
        node.required = self.names("required", self.schema.get("required", []))
        node.min_properties, node.max_properties = self.limit("minProperties"), self.limit("maxProperties")
        needs = self.take("dependentRequired", dict, "an object of lists") or {}
        node.dependent_required = {name: self.names("dependentRequired", needed) for name, needed in needs.items()}
        node.dependent_schemas = self.named("dependentSchemas")
        node.unevaluated_properties = self.one("unevaluatedProperties")
        self.fill_in_place(node)

    def fill_in_place(self, node: Node) -> None:
        node.all_of = self.several("allOf")
        if "$ref" in self.schema:
            node.all_of += (self.reader.node(self.reader.resolve(self.schema["$ref"], self.at), self.at),)
        node.any_of, node.one_of = self.several("anyOf"), self.several("oneOf")
        node.not_, node.if_ = self.one("not"), self.one("if")
        then, otherwise = self.one("then"), self.one("else")
        if node.if_ is not None:
            node.then_, node.else_ = then, otherwise
        single = (node.not_, node.if_, node.then_, node.else_, *node.dependent_schemas.values())
        node.in_place = (*node.all_of, *node.any_of, *node.one_of, *(each for each in single if each is not None))

    def fill_scalars(self, node: Node) -> None:
        given = self.schema.get("type", [])
        node.type = (given,) if isinstance(given, str) else self.names("type", given)
        for name in node.type:
            if name not in _TYPES:
                raise InvalidSchema(f"{name!r} is not a type", pointer=f"{self.at}/type")
        if "type" in self.schema:
            node.kinds = frozenset("number" if name == "integer" else name for name in node.type)
            node.integer = "integer" in node.type and "number" not in node.type
        self.fill_members(node)
        node.min_length, node.max_length = self.limit("minLength"), self.limit("maxLength")
        pattern = self.take("pattern", str, "a regular expression")
        node.pattern = None if pattern is None else self.regex("pattern", pattern)
        form = self.take("format", str, "a name")
        if form is not None and form in self.reader.formats:
            node.format = form, self.reader.formats[form]
        bounds = []
        for word, holds, words in _BOUNDS:
            limit = self.take(word, (int, float), "a number")
            if limit is not None:
                bounds.append((word, limit, holds, words))
        node.bounds = tuple(bounds)
        node.multiple_of = self.take("multipleOf", (int, float), "a number")
        if node.multiple_of is not None and not node.multiple_of > 0:
            raise InvalidSchema("multipleOf has to be above 0", pointer=f"{self.at}/multipleOf")

    def fill_members(self, node: Node) -> None:
        """``enum`` and ``const`` are one list of what is allowed."""
        members = self.take("enum", list, "a list of values")
        if "const" in self.schema:
            const = self.schema["const"]
            both = members is None or canonical(const) in set(map(canonical, members))
            members = [const] if both else []
            node.members_keyword = "const"
        if members is None:
            return
        node.members = frozenset(map(canonical, members))
        node.member_kinds = frozenset(KINDS[type(member)] for member in members)
        node.strings = tuple(member for member in members if isinstance(member, str))
        few = ", ".join(map(shown, members[:8])) + ", …" * (len(members) > 8)
        node.shown_members = few if len(members) == 1 else f"one of {few}" if members else "nothing at all"
