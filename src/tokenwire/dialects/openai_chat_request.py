"""Chat Completions requests: what the relay must know of one, and the body that goes upstream.

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


class ChatRequest(msgspec.Struct, frozen=True):
    """A checked request.

    Attributes:
        model: as the caller wrote it.
        include_usage: whether the caller asked for the usage chunk of a stream.
        n: how many choices were asked for.
        fields: every member of the body, in order, as it came.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    fields: dict[str, Raw]


def parse_request(body: bytes) -> ChatRequest:
    """Check *body* as far as the relay depends on it; the rest is the provider's to judge.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    try:
        fields = _split(body)
    except msgspec.ValidationError:
        raise _refused("the request body must be a JSON object", None) from None
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "invalid_json", f"the request body is not valid JSON: {error}") from error
    for name in ("model", "messages"):
        if name not in fields:
            message = f"you must provide {name!r}"
            raise RequestRefused(400, "missing_required_parameter", message, param=name)
    model = _member(fields, "model")
    if not isinstance(model, str) or not model:
        raise _refused("'model' must be a non-empty string", "model")
    if bytes(memoryview(fields["messages"])[:1]) != b"[":
        raise _refused("'messages' must be an array", "messages")
    return ChatRequest(model, _flag(fields, "stream"), _include_usage(fields), _n(fields), fields)


def rewrite(request: ChatRequest, *, model: str, include_usage: bool) -> bytes:
    """The body for the upstream: *model* in place of the caller's name for it, all else as it came.

    If the request is for a stream and *include_usage* is True, ``stream_options.include_usage`` is set to true beside
    the options that the caller gave; False changes nothing. White space between members is not kept.
    """
    fields = dict(request.fields)
    fields["model"] = Raw(msgspec.json.encode(model))
    if include_usage and request.stream and not request.include_usage:
        options = _options(fields)
        options["include_usage"] = Raw(b"true")
        fields["stream_options"] = Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)


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


def _member(fields: dict[str, Raw], name: str) -> Any:
    """The value of a member; null and missing are the same, as OpenAI has it."""
    raw = fields.get(name)
    try:
        return None if raw is None else _value(raw)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{name!r} is not valid JSON: {error}", name) from error


def _flag(fields: dict[str, Raw], name: str) -> bool:
    value = _member(fields, name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _refused(f"{name!r} must be a boolean", name)


def _options(fields: dict[str, Raw]) -> dict[str, Raw]:
    raw = fields.get("stream_options")
    if raw is None or bytes(raw) == b"null":
        return {}
    try:
        return _members(raw)
    except (ValueError, RecursionError):
        raise _refused("'stream_options' must be an object", "stream_options") from None


def _include_usage(fields: dict[str, Raw]) -> bool:
    try:
        return _flag(_options(fields), "include_usage")
    except RequestRefused as refused:
        refused.param = "stream_options"
        raise


def _n(fields: dict[str, Raw]) -> int:
    value = _member(fields, "n")
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _refused("'n' must be a whole number of at least 1", "n")
    return value


def _refused(message: str, param: str | None) -> RequestRefused:
    return RequestRefused(400, "invalid_request", message, param=param)
