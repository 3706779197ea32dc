"""A request's body, taken apart as far as the relay must know it, and put together again.

The body is the caller's. Members are told apart, but never decoded further than needed and never encoded again: what
the relay does not have to change arrives upstream byte for byte, numbers and escapes included.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from tokenwire.dialects.json_text import whole
from tokenwire.errors import RequestRefused

# An escape of half a character (a lone one is what a text cut by JavaScript's `slice` ends in).
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE: Final = re.compile(r"[ \t\n\r]*")

_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_value: Final = msgspec.json.Decoder().decode


class GenerateRequest(msgspec.Struct, frozen=True):
    """A checked request for an answer, in any dialect.

    Attributes:
        model: as the caller wrote it.
        include_usage: whether a stream of it tells its usage to the caller; False where that must be asked for.
        fields: every member of the body, in order, as it came.
    """

    model: str
    stream: bool
    include_usage: bool
    fields: dict[str, Raw]


def read_body(
    body: bytes, required: tuple[str, ...] = ("model", "messages"), *, array: str | None = "messages"
) -> dict[str, Raw]:
    """The members of *body*; those that are *required* are there, and the one named *array*, if it is, is an array.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    try:
        fields = _split(body)
    except msgspec.ValidationError:
        raise refused("the request body must be a JSON object", None) from None
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "invalid_json", f"the request body is not valid JSON: {error}") from error
    for name in required:
        if name not in fields:
            message = f"you must provide {name!r}"
            raise RequestRefused(400, "missing_required_parameter", message, param=name)
    if array in required and bytes(memoryview(fields[array])[:1]) != b"[":
        raise refused(f"{array!r} must be an array", array)
    return fields


def read_model(fields: dict[str, Raw]) -> str:
    """The model's name. Raises ``RequestRefused`` (400) for what is none."""
    model = member(fields, "model")
    if not isinstance(model, str) or not model:
        raise refused("'model' must be a non-empty string", "model")
    return model


def write_body(fields: dict[str, Raw]) -> bytes:
    """The members as an object again. White space between them is not kept."""
    return msgspec.json.encode(fields)


def raw(value: Any) -> Raw:
    """*value* as a member that is written as it is."""
    return Raw(msgspec.json.encode(value))


def members(value: Raw, name: str) -> dict[str, Raw]:
    """The members of the object *value*, which is the member *name*. Raises ``RequestRefused`` (400) if it is none."""
    try:
        return _members(value)
    except (ValueError, RecursionError):
        raise refused(f"{name!r} must be an object", name) from None


def member(fields: dict[str, Raw], name: str) -> Any:
    """The value of a member; null and missing are the same, as the vendors have it."""
    value = fields.get(name)
    try:
        return None if value is None else _value(value)
    except (ValueError, RecursionError) as error:
        raise refused(f"{name!r} is not valid JSON: {error}", name) from error


def flag(fields: dict[str, Raw], name: str) -> bool:
    """A member that is true, false or missing."""
    value = member(fields, name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise refused(f"{name!r} must be a boolean", name)


def refused(message: str, param: str | None) -> RequestRefused:
    """400, for the member *param*."""
    return RequestRefused(400, "invalid_request", message, param=param)


def _split(body: bytes) -> dict[str, Raw]:
    """The members of *body*, each as it came. msgspec refuses a lone surrogate anywhere, though it is legal JSON and
    the provider's to judge: such bodies are taken apart by the standard library, several times slower.

    Raises:
        msgspec.ValidationError: not an object.
        ValueError, RecursionError: not JSON.
    """
    try:
        return _members(body)
    except msgspec.ValidationError:
        raise
    except ValueError:
        if _HALF.search(body) is None:
            raise
    text = body.decode()
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    if not isinstance(decoder.decode(text), dict):
        raise msgspec.ValidationError("not an object")
    fields: dict[str, Raw] = {}
    position = _after_space(text, 0)  # the brace; it is an object and not empty, so only places are looked for
    while text[position] != "}":
        name, position = decoder.raw_decode(text, _after_space(text, position + 1))
        start = _after_space(text, _after_space(text, position) + 1)
        _, end = decoder.raw_decode(text, start)
        fields[whole(name)] = Raw(text[start:end].encode())
        position = _after_space(text, end)  # a comma, or the end
    return fields


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
