"""The parameters of a function as a JSON Schema, and a model's arguments as values for it.

pydantic makes both from the annotations, so that what the schema promises is what is checked. Arguments are checked
strictly, as JSON: ``"5"`` is no integer, but ``5.0`` is, a text may be a date, and a number an enum's value. msgspec's
structs, which pydantic does not know, are checked by msgspec.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticUndefined, core_schema

from tokenwire.errors import BadArguments, BadTool

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

#: So many things that do not fit are told; a model repairs one after the other anyway.
_MOST_TOLD: Final = 8

#: What vendors bear in a schema that their model is held to, all of them together (OpenAI's and Anthropic's
#: documents on structured outputs). Anything else makes a request with ``strict`` an error.
_STRICT: Final = frozenset({
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "format", "items", "properties",
    "required", "title", "type",
})  # fmt: skip
_STRICT_FORMATS: Final = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"}
)

#: Where a struct's schema stands until those of all structs are put in.
_STRUCT: Final = "x-tokenwire-struct"


class Parameters:
    """What a function takes from the model.

    Attributes:
        schema: JSON Schema of the object of arguments.
    """

    __slots__ = ("_model", "_names", "schema")

    def __init__(self, tool: str, parameters: Sequence[tuple[str, Any, Any]], described: Mapping[str, str]) -> None:
        """
        Args:
            tool: the name, for errors.
            parameters: name, annotation and default (``inspect.Parameter.empty``: none) of each.
            described: what the docstring says of them; an annotation's own description comes first.

        Raises:
            BadTool: an annotation that has no JSON Schema.
        """
        fields: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        structs: dict[str, Any] = {}
        for number, (name, annotation, default) in enumerate(parameters):
            field = f"p{number}"  # pydantic has names of its own, which a parameter may have as well
            self._names[field] = name
            fields[field] = (
                _known(annotation, structs),
                _field(tool, name, annotation, default, described.get(name)),
            )
        try:
            self._model, schema = _model(fields)
        except _NO_SCHEMA as error:
            name = next((name for field, name in self._names.items() if not _has_schema(fields[field])), "?")
            reason = str(error).partition("\n")[0]
            raise BadTool(tool, f"the type of the parameter {name!r} has no JSON Schema: {reason}") from error
        schema.pop("title", None)
        schema.setdefault("properties", {})
        self.schema: dict[str, Any] = _with_structs(schema, structs)

    def read(self, arguments: str) -> dict[str, Any]:
        """Values for the parameters that *arguments* (JSON text; "" for none) names.

        Raises:
            BadArguments: in words for the model.
        """
        try:
            given = msgspec.json.decode(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise BadArguments(f"the arguments are not valid JSON: {error}") from None
        if not isinstance(given, dict):
            raise BadArguments("the arguments must be one JSON object")
        try:
            read = self._checked(arguments or "{}", given)
        except ValidationError as error:
            raise BadArguments(f"the arguments do not fit: {'; '.join(_told(error))}") from None
        return {self._names[field]: getattr(read, field) for field in read.model_fields_set}

    def _checked(self, arguments: str, given: dict[str, Any]) -> BaseModel:
        try:
            return self._model.model_validate_json(arguments, strict=True)
        except ValidationError as error:
            if not any(problem["type"] == "int_type" for problem in error.errors(include_url=False)):
                raise
        # JSON Schema's integers may have a fraction of 0 (2020-12, section 4.2.3), and some models write them so.
        return self._model.model_validate_json(msgspec.json.encode(_whole(given)), strict=True)


def _model(fields: dict[str, Any]) -> tuple[type[BaseModel], dict[str, Any]]:
    model: type[BaseModel] = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return model, model.model_json_schema(by_alias=True, schema_generator=_Schema)


#: What pydantic raises for a type that it cannot check or describe.
_NO_SCHEMA: Final = (PydanticUserError, TypeError, ValueError, NotImplementedError)


def _has_schema(field: Any) -> bool:
    try:
        _model({"p": field})
    except _NO_SCHEMA:
        return False
    return True


def _whole(value: Any) -> Any:
    """*value* with every number that is whole as an integer."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Schema(GenerateJsonSchema):
    """Without titles that only repeat the names, and without defaults that are no JSON."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # as pydantic has it

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _StructSchema:
    """Makes pydantic take a struct."""

    def __init__(self, struct: Any, name: str) -> None:
        self._struct = struct
        self._name = name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._convert)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {_STRUCT: self._name}

    def _convert(self, value: Any) -> Any:
        try:
            return msgspec.convert(value, self._struct)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None


def _known(annotation: Any, structs: dict[str, Any]) -> Any:
    """*annotation* as pydantic understands it; the structs in it go into *structs*."""
    origin, inner = get_origin(annotation), get_args(annotation)
    kind = annotation if origin is None else origin
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        structs[repr(annotation)] = annotation
        return Annotated[annotation, _StructSchema(annotation, repr(annotation))]
    if origin is None or origin is Literal or not inner:
        return annotation
    if origin is Annotated:
        said = [Field(description=each) if isinstance(each, str) else each for each in inner[1:]]
        return Annotated[(_known(inner[0], structs), *said)]
    new = tuple(_known(each, structs) for each in inner)
    if all(one is other for one, other in zip(new, inner, strict=True)):
        return annotation
    return Union[new] if origin in (Union, types.UnionType) else origin[new]  # noqa: UP007  # not all that can be in it has an `|`


def _field(tool: str, name: str, annotation: Any, default: Any, described: str | None) -> Any:
    if isinstance(default, FieldInfo):
        raise BadTool(tool, f"the default of {name!r} is a Field(...): put that into Annotated, and the default here")
    said = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    own = any(isinstance(each, str) or (isinstance(each, FieldInfo) and each.description) for each in said)
    given = PydanticUndefined if default is inspect.Parameter.empty else default
    if own or described is None:  # a None here would take the annotation's own away
        return Field(given, alias=name)
    return Field(given, alias=name, description=described)


def _with_structs(schema: dict[str, Any], structs: dict[str, Any]) -> dict[str, Any]:
    """*schema* with those of the structs in their places."""
    if not structs:
        return schema
    schemas, components = msgspec.json.schema_components(structs.values(), ref_template="#/$defs/{name}")
    places = dict(zip(structs, schemas, strict=True))
    filled: dict[str, Any] = _filled(schema, places)
    filled["$defs"] = {**components, **filled.get("$defs", {})}
    return filled


def _filled(value: Any, places: Mapping[str, dict[str, Any]]) -> Any:
    if isinstance(value, list):
        return [_filled(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    filled = {name: _filled(each, places) for name, each in value.items() if name != _STRUCT}
    return {**places[value[_STRUCT]], **filled} if _STRUCT in value else filled


def _told(error: ValidationError) -> Iterator[str]:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    for problem in problems[:_MOST_TOLD]:
        where = ".".join(str(step) for step in problem["loc"] if not str(step).startswith("function-"))
        yield f"{where}: {problem['msg'].removeprefix('Value error, ')}"
    if len(problems) > _MOST_TOLD:
        yield f"and {len(problems) - _MOST_TOLD} more"


def can_be_strict(schema: Mapping[str, Any]) -> bool:
    """Whether vendors can hold a model to *schema* as it is: every object lists all its members, all are required and
    there are no others, nothing is recursive, and only what vendors bear is in it."""
    return bool(schema.get("properties")) and _strict(schema, schema.get("$defs", {}), ())


def _strict(schema: Any, defs: Mapping[str, Any], within: tuple[str, ...]) -> bool:
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT:
        return False
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        return len(schema) == 1 and name not in within and _strict(defs.get(name), defs, (*within, name))
    if schema.get("format", "uuid") not in _STRICT_FORMATS or not {"type", "anyOf", "enum", "const"} & schema.keys():
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" and not (
        properties and schema.get("additionalProperties") is False and {*schema.get("required", ())} == {*properties}
    ):
        return False
    inner = [*properties.values(), *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return all(_strict(each, defs, within) for each in inner)
