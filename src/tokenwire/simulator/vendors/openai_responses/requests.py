"""The body of POST /v1/responses, checked field by field (reference section 4.1).

What the items of ``input`` must obey is in ``rules``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tokenwire.simulator.vendors.openai.errors import ApiError, invalid
from tokenwire.simulator.vendors.openai.requests import StreamOptions, invalid_field

Item = dict[str, Any]

_LEAST_TOKENS = 16


class Reasoning(Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    mode: str | None = None
    context: str | None = None
    generate_summary: str | None = None


class Format(Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: Any = None
    strict: bool | None = None
    description: str | None = None


class Text(Struct):
    format: Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ResponsesRequest(Struct, kw_only=True):
    """The fields that change the answer or are repeated in it; those of type ``Any`` are accepted and ignored."""

    model: str
    input: str | list[Item] | None = None
    instructions: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    store: bool | None = None
    include: list[str] | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    tools: list[Item] | None = None
    tool_choice: Literal["none", "auto", "required"] | Item | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    previous_response_id: str | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Any = None
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    moderation: Any = None
    prompt_cache_retention: Any = None
    prompt_cache_options: Any = None

    @property
    def items(self) -> list[Item]:
        """The input as items, whichever way it was written."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return self.input or []

    @property
    def format(self) -> Format:
        return (self.text and self.text.format) or Format()

    @property
    def obfuscation(self) -> bool:
        return self.stream_options is None or self.stream_options.include_obfuscation is not False

    @property
    def reasons(self) -> bool:
        """Whether reasoning was asked for; a model that always reasons is not among those that are pretended."""
        return self.reasoning is not None and self.reasoning.effort != "none"

    def includes(self, what: str) -> bool:
        return what in (self.include or ())


# What Chat Completions call it -> what it is called here.
_MOVED = {
    "messages": "input", "max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format", "reasoning_effort": "reasoning.effort", "functions": "tools",
    "function_call": "tool_choice",
}  # fmt: skip
_INCLUDABLE = (
    "reasoning.encrypted_content", "message.output_text.logprobs", "web_search_call.action.sources",
    "web_search_call.results", "code_interpreter_call.outputs", "file_search_call.results",
    "computer_call_output.output.image_url", "message.input_image.image_url",
)  # fmt: skip


def parse(body: bytes) -> ResponsesRequest:
    """The request body.

    Raises:
        ApiError: 400 in OpenAI's words: not JSON, a field missing, unknown, of the wrong type or out of range.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The JSON body of the request could not be parsed: {error}", None) from None
    for name in raw if isinstance(raw, dict) else ():
        if name in _MOVED:
            message = f"Unsupported parameter: '{name}'. In the Responses API it is '{_MOVED[name]}'."
            raise invalid(message, name, "unsupported_parameter")
        if name not in ResponsesRequest.__struct_fields__:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    try:
        request = msgspec.convert(raw, ResponsesRequest)
    except msgspec.ValidationError as error:
        raise invalid_field(str(error)) from None
    _check(request)
    return request


def _check(request: ResponsesRequest) -> None:
    """What the fields must obey among themselves."""
    if not request.items and request.previous_response_id is None and request.prompt is None:
        raise missing("input")
    if request.stream_options is not None and not request.stream:
        raise invalid("'stream_options' is only allowed together with 'stream'.", "stream_options")
    limit = request.max_output_tokens
    if limit is not None and limit < _LEAST_TOKENS:
        message = f"integer below minimum value. Expected a value >= {_LEAST_TOKENS}, but got {limit} instead."
        raise invalid(f"Invalid 'max_output_tokens': {message}", "max_output_tokens", "integer_below_min_value")
    if request.background and request.store is False:
        raise invalid("Background mode needs 'store' to be true.", "background")
    for number, what in enumerate(request.include or ()):
        if what not in _INCLUDABLE:
            raise bad_value(what, _INCLUDABLE, f"include[{number}]")
    if request.format.type == "json_schema":
        for name in ("name", "schema"):
            if not getattr(request.format, name):
                raise missing(f"text.format.{name}")


def missing(name: str) -> ApiError:
    return invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def bad_value(value: object, known: tuple[str, ...], where: str) -> ApiError:
    names = ", ".join(f"'{each}'" for each in known)
    return invalid(f"Invalid value: '{value}'. Supported values are: {names}.", where, "invalid_value")
