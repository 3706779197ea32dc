"""Instances of types from JSON values that are not whole yet.

What can still change is only the last member of each open container, and its last member, and so on: JSON has no way
back. So whatever stands before the last is built once and kept, and each call costs the open containers' new members.

What is shown while a value grows, by its declared type:

- a model (struct, pydantic model, dataclass): an instance from its ``{`` on, made without validation; fields that have
  not come have their default, or None. It is a new one for each call, so that nobody's copy changes;
- list, tuple, set and dict: with the members that have come. Lists and dicts are the same object from call to call;
- str, int, float, bool: the value, if it is of that type;
- other types that are written as text (enums, literals, dates, UUIDs …): when the text is certainly whole. None till
  then, because "2024-01-1" is not a date, and "or" may become "order" or "origin";
- a union: of the alternative that the value can only be: by its JSON type, by a tag or literal that tells models apart,
  or by the names of its fields. None until that is decided.

A value of a wrong type is None here; `TypedPartial.final` says what is wrong with it. If a name is given twice, the
second value may be seen late.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence, Set
from collections.abc import Set as AbstractSet
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec

from tokenwire.library.models import Model, model_of

#: (the JSON value, whether it may still grow) -> what to show of it.
Build: TypeAlias = Callable[[Any, bool], Any]

_LISTS = (list, Sequence, MutableSequence)
_SETS = (set, frozenset, Set, AbstractSet)
_DICTS = (dict, Mapping, MutableMapping)


class Growth:
    """Builds the instances of one growing value. Holds the finished ones, and so is for one value only."""

    def __init__(self, type_: Any) -> None:
        self._root: Any = None
        self._open_string = True
        # By id of the JSON container: itself, and what was built of it.
        self._kept: dict[int, tuple[Any, Any]] = {}  # lists and dicts, which are filled in place
        self._whole: dict[int, tuple[Any, Any]] = {}  # whatever is made anew until it is finished
        self._builds: dict[Any, Build] = {}
        self._build = self._builder(type_)

    def of(self, value: Any, open_string: bool) -> Any:
        """What is known of *value*, as an instance; *open_string* if the last string in it may grow."""
        self._open_string = open_string
        if value is not self._root:
            self._kept.clear()
            self._whole.clear()
            self._root = value
        return self._build(value, True)

    # -- one builder for each type

    def _builder(self, type_: Any) -> Build:
        """The builder of *type_*; a type that holds itself is looked up when it is needed."""
        try:
            known = self._builds.get(type_)
        except TypeError:  # not hashable: Annotated with a list, say
            return self._make(type_)
        if known is not None:
            return known
        self._builds[type_] = lambda value, open_: self._builds[type_](value, open_)
        made = self._builds[type_] = self._make(type_)
        return made

    def _make(self, type_: Any) -> Build:
        bare = _bare(type_)
        if bare is not type_:
            return self._builder(bare)
        origin = get_origin(type_)
        arguments = get_args(type_)
        if origin in (Union, UnionType):
            return self._union(_alternatives(type_))
        plain = origin or type_
        if getattr(plain, "__pydantic_root_model__", False):
            return self._root_model(plain)
        model = model_of(type_)
        if model is not None:
            return self._model(model)
        if plain in _LISTS:
            return self._list(self._builder(arguments[0] if arguments else Any))
        if plain in _SETS:
            return self._set(
                frozenset if plain is frozenset else set, self._builder(arguments[0] if arguments else Any)
            )
        if plain is tuple:
            return self._tuple(arguments)
        if plain in _DICTS:
            return self._dict(self._builder(arguments[1]) if len(arguments) == 2 else _anything)
        if plain in (Any, object) or isinstance(type_, TypeVar):
            return _anything
        if type_ in _SCALARS:
            return _SCALARS[type_]
        text = _literal(arguments) if origin is Literal else _converted(type_)
        return lambda value, open_: text(value, open_ and self._open_string)

    def _model(self, model: Model) -> Build:
        builds: dict[str, tuple[str, Build]] | None = None

        def build(value: Any, open_: bool) -> Any:
            nonlocal builds
            if type(value) is not dict:
                return None
            if builds is None:
                builds = {key: (field.name, self._builder(field.type)) for key, field in model.fields.items()}
            last = next(reversed(value), None) if open_ else None
            known = {}
            for key, item in value.items():
                if key in builds:
                    name, member = builds[key]
                    known[name] = member(item, key == last)
            return model.make(known)

        return self._once(build)

    def _once(self, build: Build) -> Build:
        """*build*, asked only once for a container that is finished."""

        def once(value: Any, open_: bool) -> Any:
            if open_ or type(value) not in (dict, list):
                return build(value, open_)
            whole = self._whole.get(id(value))
            if whole is None:
                whole = self._whole[id(value)] = value, build(value, False)
            return whole[1]

        return once

    def _root_model(self, type_: Any) -> Build:
        inner = self._builder(type_.model_fields["root"].annotation)

        def build(value: Any, open_: bool) -> Any:
            made = inner(value, open_)
            return None if made is None else type_.model_construct(made)

        return build

    def _list(self, member: Build) -> Build:
        def build(value: Any, open_: bool) -> Any:
            if type(value) is not list:
                return None
            kept = self._kept.get(id(value))
            made: list[Any] = [] if kept is None else kept[1]
            if kept is None:
                self._kept[id(value)] = value, made
            first = max(0, len(made) - 1)  # the last was perhaps not whole
            del made[first:]
            end = len(value) - 1
            made.extend(member(value[i], open_ and i == end) for i in range(first, len(value)))
            return made

        return build

    def _set(self, kind: type[Any], member: Build) -> Build:
        listed = self._list(member)

        def build(value: Any, open_: bool) -> Any:
            items = listed(value, open_)
            try:
                return None if items is None else kind(item for item in items if item is not None)
            except TypeError:  # of members that cannot be in a set
                return None

        return self._once(build)

    def _tuple(self, arguments: tuple[Any, ...]) -> Build:
        if (len(arguments) == 2 and arguments[1] is Ellipsis) or not arguments:
            listed = self._list(self._builder(arguments[0]) if arguments else _anything)
            return self._once(lambda value, open_: None if type(value) is not list else tuple(listed(value, open_)))
        members = [self._builder(argument) for argument in arguments]

        def build(value: Any, open_: bool) -> Any:
            if type(value) is not list:
                return None
            end = len(value) - 1
            come = [
                member(item, open_ and i == end) for i, (member, item) in enumerate(zip(members, value, strict=False))
            ]
            return (*come, *[None] * (len(members) - len(come)))

        return build

    def _dict(self, member: Build) -> Build:
        def build(value: Any, open_: bool) -> Any:
            if type(value) is not dict:
                return None
            kept = self._kept.get(id(value))
            made: dict[str, Any] = {} if kept is None else kept[1]
            if kept is None:
                self._kept[id(value)] = value, made
            new = []
            for name in reversed(value):  # those that came since, and the one that was last
                new.append(name)
                if name in made:
                    break
            last = new[0] if new else None
            for name in reversed(new):
                made[name] = member(value[name], open_ and name == last)
            return made

        return build

    def _union(self, arguments: list[Any]) -> Build:
        models = []
        others = []
        for argument in arguments:
            model = model_of(argument)
            if model is None:
                others.append((kinds_of(argument), self._builder(argument)))
            else:
                models.append((model, self._builder(argument)))

        def build(value: Any, open_: bool) -> Any:
            fitting = [member for kinds, member in others if type(value) in kinds]
            if type(value) is dict:
                fitting += [member for model, member in models if model.may_be(value, open_ and self._open_string)]
            elif type(value) is int and len(fitting) != 1:
                fitting = [member for kinds, member in others if int in kinds and float not in kinds]
            return fitting[0](value, open_) if len(fitting) == 1 else None

        return build


def _bare(type_: Any) -> Any:
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


def _alternatives(type_: Any) -> list[Any]:
    """The members of a union, those of unions in it included."""
    type_ = _bare(type_)
    if get_origin(type_) not in (Union, UnionType):
        return [type_]
    return [each for argument in get_args(type_) for each in _alternatives(argument)]


def kinds_of(type_: Any) -> frozenset[type]:
    """The JSON types, as Python has them, that a value of *type_* can be written in. Bare, no union and no model."""
    origin = get_origin(type_)
    plain = origin or type_
    if origin is Literal:
        return frozenset(map(type, get_args(type_)))
    if plain in (*_LISTS, *_SETS, tuple):
        return frozenset({list})
    if plain in _DICTS:
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


def _anything(value: Any, open_: bool) -> Any:
    return value


def _float(value: Any, open_: bool) -> Any:
    return float(value) if type(value) in (int, float) else None


def _only(kind: type) -> Build:
    return lambda value, open_: value if type(value) is kind else None


_SCALARS: dict[Any, Build] = {
    str: _only(str),
    int: _only(int),
    bool: _only(bool),
    float: _float,
    None: lambda value, open_: None,
    NoneType: lambda value, open_: None,
}


def _literal(allowed: tuple[Any, ...]) -> Build:
    def build(value: Any, open_: bool) -> Any:
        if not any(type(each) is type(value) and each == value for each in allowed):
            return None
        if open_ and isinstance(value, str):  # perhaps the beginning of another
            longer = [each for each in allowed if isinstance(each, str) and each.startswith(value)]
            return value if len(longer) == 1 else None
        return value

    return build


def _converted(type_: Any) -> Build:
    """For types that are written as a text or a number: when it is whole."""
    members = getattr(type_, "__members__", None)
    if members is not None:
        literal = _literal(tuple(member.value for member in members.values()))
        return lambda value, open_: None if literal(value, open_) is None else type_(value)

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
