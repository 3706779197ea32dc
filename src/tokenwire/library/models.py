"""What structs, pydantic models, dataclasses and typed dicts have in common: names, types, and how to make one."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, NotRequired, Required, get_args, get_origin, get_type_hints, is_typeddict

import msgspec


class ModelField(NamedTuple):
    name: str  # in Python
    type: Any
    missing: Callable[[], Any] | None  # makes what it has while nothing came; None: it is left out


class Model:
    """One such type.

    Attributes:
        fields: by the name that JSON has.
        tags: name in JSON -> values that it can have in this model: what tells the models of a union apart.
    """

    __slots__ = ("_construct", "fields", "tags")

    def __init__(
        self, fields: Mapping[str, ModelField], construct: Callable[[dict[str, Any]], Any], tag: tuple[str, Any] | None
    ) -> None:
        self.fields = fields
        self._construct = construct
        self.tags: dict[str, tuple[Any, ...]] = {} if tag is None else {tag[0]: (tag[1],)}
        for name, field in fields.items():
            if get_origin(field.type) is Literal:
                self.tags[name] = get_args(field.type)

    def make(self, known: dict[str, Any]) -> Any:
        """An instance with the *known* values of fields, by their names in Python. Not validated.

        None if the class itself refuses it (``__post_init__`` of a struct).
        """
        values = {
            field.name: field.missing()
            for field in self.fields.values()
            if field.missing is not None and field.name not in known
        }
        return self._construct({**known, **values})

    def may_be(self, value: dict[str, Any], open_: bool) -> bool:
        """Whether a JSON object may be one of these, by its tags and its names. *open_*: its last string may grow."""
        last = next(reversed(value), None) if open_ else None
        for name, allowed in self.tags.items():
            given = value.get(name)
            if name in value and given not in allowed and not (name == last and _begins(given, allowed)):
                return False
        return all(name in self.fields or name in self.tags for name in value)


def _begins(given: Any, allowed: tuple[Any, ...]) -> bool:
    return isinstance(given, str) and any(isinstance(each, str) and each.startswith(given) for each in allowed)


def _none() -> None:
    return None


def model_of(type_: Any) -> Model | None:
    """*type_* as a model; None if it is none."""
    plain: Any = get_origin(type_) or type_
    if not isinstance(plain, type):
        return None
    if issubclass(plain, msgspec.Struct):
        return _struct(type_)
    if is_typeddict(plain):
        return _typed_dict(type_)
    if dataclasses.is_dataclass(plain):
        return _dataclass(type_)
    pydantic = sys.modules.get("pydantic")  # whoever has a model of it has imported it
    if pydantic is not None and issubclass(plain, pydantic.BaseModel):
        return _pydantic(type_)
    return None


def _default(default: Any, factory: Any, absent: Any) -> Callable[[], Any]:
    if factory is not absent and factory is not None:
        made: Callable[[], Any] = factory
        return made
    return _none if default is absent else lambda: default


@functools.lru_cache(maxsize=256)
def _struct(type_: Any) -> Model:
    plain = get_origin(type_) or type_
    fields = {
        field.encode_name: ModelField(
            field.name, field.type, _default(field.default, field.default_factory, msgspec.NODEFAULT)
        )
        for field in msgspec.structs.fields(type_)
    }

    def construct(values: dict[str, Any]) -> Any:
        try:
            return plain(**values)
        except (ValueError, TypeError, AttributeError):  # a __post_init__ that wants more than there is
            return None

    config = plain.__struct_config__
    tag = None if config.tag_field is None else (config.tag_field, config.tag)
    return Model(fields, construct, tag)


@functools.lru_cache(maxsize=256)
def _dataclass(type_: Any) -> Model:
    plain = get_origin(type_) or type_
    hints = get_type_hints(plain, include_extras=True)
    fields = {
        field.name: ModelField(
            field.name, hints[field.name], _default(field.default, field.default_factory, dataclasses.MISSING)
        )
        for field in dataclasses.fields(plain)
    }

    def construct(values: dict[str, Any]) -> Any:
        made = object.__new__(plain)
        for name, value in values.items():
            object.__setattr__(made, name, value)  # frozen ones, too; and __post_init__ may want more than there is
        return made

    return Model(fields, construct, None)


@functools.lru_cache(maxsize=256)
def _typed_dict(type_: Any) -> Model:
    plain = get_origin(type_) or type_
    fields = {}
    for name, hint in get_type_hints(plain, include_extras=True).items():
        # Of postponed annotations `__required_keys__` knows nothing.
        required = name in plain.__required_keys__ and get_origin(hint) is not NotRequired
        bare = get_args(hint)[0] if get_origin(hint) in (NotRequired, Required) else hint
        fields[name] = ModelField(name, bare, _none if required else None)
    return Model(fields, dict, None)


@functools.lru_cache(maxsize=256)
def _pydantic(plain: Any) -> Model:
    fields = {}
    names: dict[str, str] = {}  # in Python -> as `model_construct` takes it
    for name, info in plain.model_fields.items():
        alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias or name
        names[name] = alias
        default = (
            _none
            if info.is_required()
            else functools.partial(info.get_default, call_default_factory=True, validated_data={})
        )
        fields[alias] = ModelField(name, info.annotation, default)

    def construct(values: dict[str, Any]) -> Any:
        return plain.model_construct(**{names[name]: value for name, value in values.items()})

    return Model(fields, construct, None)
