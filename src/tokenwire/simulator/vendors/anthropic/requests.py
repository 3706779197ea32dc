"""The bodies of POST /v1/messages and /v1/messages/count_tokens, checked field by field (reference section 5.1).

What a request must obey beyond its fields is in ``anthropic_rules``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tokenwire.simulator.vendors.anthropic.errors import ApiError, invalid

Block = dict[str, Any]


class Message(Struct):
    role: str
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks, whichever way it was written."""
        return [{"type": "text", "text": self.content}] if isinstance(self.content, str) else self.content


class Thinking(Struct):
    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class ToolEntry(Struct):
    """A tool of the client's, or one of Anthropic's, which has a ``type`` such as ``web_search_20250305``."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: Any = None
    eager_input_streaming: bool | None = None
    allowed_domains: list[str] | None = None
    cache_control: CacheControl | None = None

    @property
    def custom(self) -> bool:
        return self.type in (None, "custom")


class ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class CacheControl(Struct):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class OutputFormat(Struct):
    type: Literal["json_schema"]
    schema: Any = None


class OutputConfig(Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class PromptRequest(Struct, kw_only=True):
    """What count_tokens takes, and every message."""

    model: str
    messages: list[Message]
    system: str | list[Block] | None = None
    tools: list[ToolEntry] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    cache_control: CacheControl | None = None

    @property
    def schema(self) -> OutputFormat | None:
        """The format of the answer, by its present name or by that of the beta."""
        return (self.output_config and self.output_config.format) or self.output_format

    @property
    def effort(self) -> str | None:
        return self.output_config.effort if self.output_config else None


class MessagesRequest(PromptRequest, kw_only=True):
    """The fields that change the answer; the others are accepted and ignored."""

    max_tokens: Annotated[int, Meta(ge=1)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    metadata: dict[str, Any] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None


# Fields that are accepted and ignored, betas included. Any other name is refused, as by the real API: a relay that
# passes on what was meant for it should be seen.
_IGNORED = frozenset({
    "top_k", "top_p", "service_tier", "speed", "container", "inference_geo", "diagnostics", "betas",
    "context_management", "mcp_servers", "compaction", "fallbacks", "fallback_credit_token", "user_profile_id",
    "billing_policy", "thread",
})  # fmt: skip

RequestType = TypeVar("RequestType", bound=PromptRequest)


def parse(body: bytes, kind: type[RequestType]) -> RequestType:
    """The request body.

    Raises:
        ApiError: 400 in Anthropic's words: not JSON, a field missing, unknown, of the wrong type or out of range.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise invalid("Input should be a valid dictionary")
    known = _IGNORED.union(kind.__struct_fields__)
    for name in raw:
        if name not in known:
            raise invalid(f"{name}: Extra inputs are not permitted")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from None


_KINDS = {
    "int": "a valid integer", "float": "a valid number", "str": "a valid string", "bool": "a valid boolean",
    "array": "a valid list", "object": "a valid dictionary",
}  # fmt: skip


def _invalid_field(problem: str) -> ApiError:
    """msgspec's ``Expected `int`, got `str` - at `$.max_tokens` `` as Anthropic's sentence about ``max_tokens``."""
    what, _, where = problem.partition(" - at ")
    path = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", where.strip("`").removeprefix("$").removeprefix("."))
    missing = re.search(r"missing required field `(\w+)`", what)
    bound = re.search(r"Expected `\w+(?: \| null)?` (>=|<=) ([\d.]+)", what)
    kind = re.match(r"Expected `(\w+)", what)
    if missing:
        path, sentence = f"{path}.{missing[1]}".removeprefix("."), "Field required"
    elif bound:
        sentence = f"Input should be {'greater' if bound[1] == '>=' else 'less'} than or equal to {bound[2]}"
    elif kind and kind[1] in _KINDS:
        sentence = f"Input should be {_KINDS[kind[1]]}"
    else:
        sentence = what
    return invalid(f"{path}: {sentence}")
