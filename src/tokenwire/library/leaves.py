"""What types say about the JSON that they are written in, and the values of those that are no containers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence, Set
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, TypeAlias, Union, get_args, get_origin

import msgspec

#: (the JSON value, whether it may still grow) -> what to show of it.
Build: TypeAlias = Callable[[Any, bool], Any]

LISTS = (list, Sequence, MutableSequence)
SETS = (set, frozenset, Set, MutableSet)
DICTS = (dict, Mapping, MutableMapping)


def bare(type_: Any) -> Any:
    """*type_* without what is only said about it."""
    while True:
        if get_origin(type_) is Annotated:
            type_ = get_args(type_)[0]
        elif isinstance(type_, NewType):
            type_ = type_.__supertype__
        elif isinstance(getattr(type_, "__type_params__", None), tuple) and hasattr(type_, "__value__"):
            type_ = type_.__value__  # `type X = …`
        else:
            return type_


def alternatives(type_: Any) -> list[Any]:
    """The members of a union, those of unions in it included."""
    type_ = bare(type_)
    if get_origin(type_) not in (Union, UnionType):
        return [type_]
    return [each for argument in get_args(type_) for each in alternatives(argument)]


def kinds_of(type_: Any) -> frozenset[type]:
    """The JSON types, as Python has them, that a value of *type_* can be written in. Bare, no union and no model."""
    origin = get_origin(type_)
    plain = origin or type_
    if origin is Literal:
        return frozenset(map(type, get_args(type_)))
    if plain in (*LISTS, *SETS, tuple):
        return frozenset({list})
    if plain in DICTS:
        return frozenset({dict})
    if plain in (Any, object):
        return frozenset({str, int, float, bool, NoneType, list, dict})
    if plain is float:
        return frozenset({int, float})
    if plain in (None, NoneType):
        return frozenset({NoneType})
    if plain in (int, str, bool):
        return frozenset({plain})
    members = getattr(type_, "__members__", None)
    if members is not None:  # an enum
        return frozenset(type(member.value) for member in members.values())
    return frozenset({str})


def anything(value: Any, open_: bool) -> Any:
    return value


def _float(value: Any, open_: bool) -> Any:
    return float(value) if type(value) in (int, float) else None


def _only(kind: type) -> Build:
    return lambda value, open_: value if type(value) is kind else None


SCALARS: dict[Any, Build] = {
    str: _only(str),
    int: _only(int),
    bool: _only(bool),
    float: _float,
    None: lambda value, open_: None,
    NoneType: lambda value, open_: None,
}


def literal(allowed: tuple[Any, ...]) -> Build:
    def build(value: Any, open_: bool) -> Any:
        if not any(type(each) is type(value) and each == value for each in allowed):
            return None
        if open_ and isinstance(value, str):  # perhaps the beginning of another
            longer = [each for each in allowed if isinstance(each, str) and each.startswith(value)]
            return value if len(longer) == 1 else None
        return value

    return build


def converted(type_: Any) -> Build:
    """For types that are written as a text or a number: when it is whole."""
    members = getattr(type_, "__members__", None)
    if members is not None:
        known = literal(tuple(member.value for member in members.values()))
        return lambda value, open_: None if known(value, open_) is None else type_(value)

    convert = _converter(type_)

    def build(value: Any, open_: bool) -> Any:
        if open_ and isinstance(value, str):
            return None
        try:
            return convert(value)
        except (ValueError, TypeError):
            return None

    return build


def _converter(type_: Any) -> Callable[[Any], Any]:
    """msgspec's, or pydantic's for types that msgspec does not know (whoever uses these has imported it)."""
    if isinstance(msgspec.inspect.type_info(type_), msgspec.inspect.CustomType) and "pydantic" in sys.modules:
        adapter = sys.modules["pydantic"].TypeAdapter(type_)
        return lambda value: adapter.validate_python(value)
    return lambda value: msgspec.convert(value, type_, strict=True)
