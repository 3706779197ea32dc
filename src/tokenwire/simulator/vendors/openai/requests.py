"""The body of POST /v1/chat/completions, checked and turned into what was asked (reference section 3.1)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tokenwire.simulator.answer import ANY_OBJECT, Ask
from tokenwire.simulator.tokens import count
from tokenwire.simulator.tools import Tool
from tokenwire.simulator.vendors.openai.errors import ApiError, invalid

# What OpenAI's own templates add to each message and each answer (roles and separators), in tokens.
_PER_MESSAGE = 4
_PER_REQUEST = 3


class NamedFunction(Struct):
    name: str = ""


class ToolCall(Struct):
    """A call of an earlier turn, as far as it is looked at."""

    id: str | None = None
    function: NamedFunction | None = None


class Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The content as text; parts that are not text (images, audio) count for nothing here."""
        if isinstance(self.content, list):
            return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")
        return self.content or ""


class Function(Struct):
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: Any = None


class ToolEntry(Struct):
    type: str
    function: Function | None = None


class ToolChoice(Struct):
    """``{"type":"function","function":{"name"}}`` or ``{"type":"allowed_tools","allowed_tools":{…}}``."""

    type: Literal["function", "allowed_tools", "custom"]
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


class AllowedTools(Struct):
    mode: Literal["auto", "required"] = "auto"
    tools: list[ToolChoice] = []


class JsonSchema(Struct):
    name: str = ""
    schema: Any = None


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Struct):
    """The fields that change the answer; all others are accepted and ignored, as is any key."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[ToolEntry] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def obfuscation(self) -> bool:
        return self.stream_options is None or self.stream_options.include_obfuscation is not False

    def prompt_tokens(self) -> int:
        """What the prompt would be billed as, by our own tokenizer."""
        spoken = sum(_PER_MESSAGE + count(message.text) for message in self.messages)
        offered = count(msgspec.json.encode(self.tools).decode()) if self.tools else 0
        return _PER_REQUEST + spoken + offered


def parse(body: bytes) -> ChatRequest:
    """The request body.

    Raises:
        ApiError: 400 in OpenAI's words: not JSON, a field missing, of the wrong type or out of range.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The JSON body of the request could not be parsed: {error}", None) from None
    try:
        request = msgspec.convert(raw, ChatRequest)
    except msgspec.ValidationError as error:
        raise invalid_field(str(error)) from None
    if request.stream_options is not None and not request.stream:
        raise invalid("'stream_options' is only allowed together with 'stream'.", "stream_options")
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("'top_logprobs' is only allowed together with 'logprobs'.", "top_logprobs")
    return request


def invalid_field(problem: str) -> ApiError:
    """msgspec's ``Expected `int`, got `str` - at `$.n` `` as OpenAI's error about ``n``."""
    missing = re.search(r"missing required field `(\w+)`", problem)
    where = re.search(r" - at `\$\.?(.*)`$", problem)
    path = where[1] if where else ""
    if missing:
        name = f"{path}.{missing[1]}" if path else missing[1]
        return invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    return invalid(f"Invalid value for '{path}': {problem.partition(' - at ')[0]}.", path or None, "invalid_value")


def ask_of(request: ChatRequest, seed: int, tokens: int | None) -> Ask:
    """What the request asks for, in the vendor-neutral form.

    Args:
        seed: decides what the request leaves open, unless it brings its own.
        tokens: exact length of a text answer, None for as it comes.

    Raises:
        ApiError: 400: an unknown tool, no schema where one belongs.
    """
    tools, must = _callable(request)
    limits = [limit for limit in (request.max_tokens, request.max_completion_tokens) if limit is not None]
    return Ask(
        prompt=next((message.text for message in reversed(request.messages) if message.role == "user"), ""),
        seed=seed if request.seed is None else request.seed,
        n=request.n or 1,
        max_tokens=min(limits, default=None),
        stop=tuple(each for each in ([request.stop] if isinstance(request.stop, str) else request.stop or ()) if each),
        tools=tools,
        must=must,
        parallel=request.parallel_tool_calls is not False,
        schema=_schema(request.response_format),
        results=_results(request.messages),
        tokens=tokens,
        echo=request.model == "echo",
    )


def _callable(request: ChatRequest) -> tuple[tuple[Tool, ...], Literal["auto", "any", "one"]]:
    """The tools that this turn may call, and how hard it has to. Custom tools are accepted and never called."""
    tools = tuple(
        Tool(entry.function.name, entry.function.description or "", parameters_of(entry.function.parameters))
        for entry in request.tools or ()
        if entry.function is not None
    )
    choice: ToolChoice | str | None = request.tool_choice
    if isinstance(choice, ToolChoice) and choice.allowed_tools is not None:
        allowed = {entry.function.name for entry in choice.allowed_tools.tools if entry.function}
        tools = tuple(tool for tool in tools if tool.name in allowed)
        choice = choice.allowed_tools.mode
    if isinstance(choice, ToolChoice):
        named = tuple(tool for tool in tools if choice.function and tool.name == choice.function.name)
        if not named:
            raise invalid("'tool_choice' names a function that is not in 'tools'.", "tool_choice")
        return named[:1], "one"
    if choice == "required" and not tools:
        raise invalid("'tool_choice' is required, and there are no 'tools'.", "tool_choice")
    return (() if choice == "none" else tools), "any" if choice == "required" else "auto"


def parameters_of(parameters: Any) -> Any:
    """The schema of the arguments, which are always an object; no schema means no arguments."""
    if not parameters:
        return {"type": "object", "additionalProperties": False}
    return {"type": "object", **parameters} if isinstance(parameters, dict) else parameters


def _schema(wanted: ResponseFormat | None) -> Any:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ANY_OBJECT
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        name = "response_format.json_schema.schema"
        raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    return wanted.json_schema.schema


def _results(messages: list[Message]) -> tuple[tuple[str, str], ...]:
    """(tool name, content) of the results after the last user message, if the request ends with them."""
    if messages[-1].role not in ("tool", "function"):
        return ()
    calls = [call for message in messages for call in message.tool_calls or ()]
    names = {call.id: call.function.name for call in calls if call.function}
    turn: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        if message.role in ("tool", "function"):
            turn.append((names.get(message.tool_call_id) or message.name or "the tool", message.text))
    return tuple(reversed(turn))
