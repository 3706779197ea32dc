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

from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from tokenwire.library.leaves import (
    DICTS,
    LISTS,
    SCALARS,
    SETS,
    Build,
    alternatives,
    anything,
    bare,
    converted,
    kinds_of,
    literal,
)
from tokenwire.library.models import Model, model_of


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
        plain = bare(type_)
        if plain is not type_:
            return self._builder(plain)
        origin = get_origin(type_)
        arguments = get_args(type_)
        if origin in (Union, UnionType):
            return self._union(alternatives(type_))
        plain = origin or type_
        if getattr(plain, "__pydantic_root_model__", False):
            return self._root_model(plain)
        model = model_of(type_)
        if model is not None:
            return self._model(model)
        if plain in LISTS:
            return self._list(self._builder(arguments[0] if arguments else Any))
        if plain in SETS:
            return self._set(
                frozenset if plain is frozenset else set, self._builder(arguments[0] if arguments else Any)
            )
        if plain is tuple:
            return self._tuple(arguments)
        if plain in DICTS:
            return self._dict(self._builder(arguments[1]) if len(arguments) == 2 else anything)
        if plain in (Any, object) or isinstance(type_, TypeVar):
            return anything
        if type_ in SCALARS:
            return SCALARS[type_]
        text = literal(arguments) if origin is Literal else converted(type_)
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
            listed = self._list(self._builder(arguments[0]) if arguments else anything)
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
