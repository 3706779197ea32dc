"""The bodies of generateContent and countTokens, checked field by field (reference section 6.1).

JSON is camelCase, and snake_case is accepted. What a request must obey beyond its fields is in ``rules``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tokenwire.simulator.vendors.gemini.errors import ApiError, invalid


class Message(Struct, rename="camel", forbid_unknown_fields=True):
    """An object of the API; a name that it does not know is refused, as by the real one."""


class FunctionCall(Message):
    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class FunctionResponse(Message):
    name: str = ""
    response: dict[str, Any] | None = None
    id: str | None = None
    will_continue: bool | None = None
    scheduling: str | None = None
    parts: list[Any] | None = None


class Part(Message):
    """A part; exactly one of ``KINDS`` is set, and the rest describes it."""

    text: str | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    inline_data: dict[str, Any] | None = None
    file_data: dict[str, Any] | None = None
    executable_code: dict[str, Any] | None = None
    code_execution_result: dict[str, Any] | None = None
    tool_call: dict[str, Any] | None = None
    tool_response: dict[str, Any] | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    video_metadata: Any = None
    part_metadata: Any = None
    media_resolution: Any = None


#: The fields of which a part has one.
KINDS = (
    "text", "function_call", "function_response", "inline_data", "file_data", "executable_code",
    "code_execution_result", "tool_call", "tool_response",
)  # fmt: skip


class Content(Message):
    parts: list[Part] = []
    role: str | None = None

    @property
    def text(self) -> str:
        """Its text; thoughts and what is not text count for nothing here."""
        return "".join(part.text for part in self.parts if part.text and not part.thought)

    @property
    def calls(self) -> list[FunctionCall]:
        return [part.function_call for part in self.parts if part.function_call is not None]

    @property
    def results(self) -> list[FunctionResponse]:
        return [part.function_response for part in self.parts if part.function_response is not None]


class FunctionDeclaration(Message):
    name: str = ""
    description: str | None = None
    parameters: Any = None
    parameters_json_schema: Any = None
    response: Any = None
    response_json_schema: Any = None
    behavior: str | None = None


class ToolEntry(Message):
    """Functions of the client's, and tools that run at Google, each by its own name."""

    function_declarations: list[FunctionDeclaration] | None = None
    google_search: dict[str, Any] | None = None
    google_search_retrieval: dict[str, Any] | None = None
    code_execution: Any = None
    url_context: Any = None
    google_maps: Any = None
    file_search: Any = None
    computer_use: Any = None
    mcp_servers: Any = None


class FunctionCallingConfig(Message):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: list[str] | None = None
    stream_function_call_arguments: bool | None = None


class ToolConfig(Message):
    function_calling_config: FunctionCallingConfig | None = None
    retrieval_config: Any = None
    include_server_side_tool_invocations: bool | None = None


class ThinkingConfig(Message):
    include_thoughts: bool | None = None
    thinking_budget: Annotated[int, Meta(ge=-1)] | None = None
    thinking_level: str | None = None


class GenerationConfig(Message):
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=5)] | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=8)] | None = None
    response_mime_type: str | None = None
    response_schema: Any = None
    response_json_schema: Any = None
    thinking_config: ThinkingConfig | None = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: float | None = None
    top_k: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_modalities: list[str] | None = None
    response_format: Any = None
    speech_config: Any = None
    media_resolution: Any = None
    image_config: Any = None
    enable_enhanced_civic_answers: bool | None = None
    audio_timestamp: bool | None = None
    routing_config: Any = None
    model_selection_config: Any = None


class GenerateRequest(Message):
    """The fields that change the answer; those of type ``Any`` are accepted and ignored."""

    contents: list[Content] = []
    system_instruction: Content | None = None
    tools: list[ToolEntry] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig = msgspec.field(default_factory=GenerationConfig)
    cached_content: str | None = None
    safety_settings: list[dict[str, Any]] | None = None
    model: str | None = None
    service_tier: Any = None
    labels: Any = None
    store: Any = None

    @property
    def declarations(self) -> list[FunctionDeclaration]:
        return [each for tool in self.tools or () for each in tool.function_declarations or ()]

    @property
    def calling(self) -> FunctionCallingConfig:
        return (self.tool_config and self.tool_config.function_calling_config) or FunctionCallingConfig()

    @property
    def thinks(self) -> bool:
        """Whether thinking was asked for; a model that always thinks is not among those that are pretended."""
        config = self.generation_config.thinking_config
        return config is not None and config.thinking_budget != 0 and config.thinking_level != "MINIMAL"


class CountRequest(Message):
    contents: list[Content] = []
    generate_content_request: GenerateRequest | None = None


RequestType = TypeVar("RequestType", GenerateRequest, CountRequest)

# Below these names stand the client's own.
_FREE = frozenset({
    "args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels",
})  # fmt: skip


def parse(body: bytes, kind: type[RequestType]) -> RequestType:
    """The request body.

    Raises:
        ApiError: 400 in Google's words: not JSON, a field unknown, of the wrong type or out of range.
    """
    try:
        raw = _camel(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"Invalid JSON payload received. {error}", "") from None
    if not isinstance(raw, dict):
        raise invalid("Invalid JSON payload received. Unexpected token: an object is expected.", "")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from None


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"(?<=[a-z0-9])_([a-z])", lambda found: found[1].upper(), name): value[name] for name in value}
    return {name: each if name in _FREE else _camel(each) for name, each in named.items()}


def _invalid_field(problem: str) -> ApiError:
    """msgspec's ``Expected `int`, got `str` - at `$.generationConfig.seed` `` as Google's sentence about it."""
    what, _, where = problem.partition(" - at ")
    path = where.strip("`").removeprefix("$").removeprefix(".")
    path = re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", path)
    unknown = re.search(r"unknown field `(.*)`$", what)
    if unknown:
        place = f" at '{path}'" if path else ""
        return invalid(f'Invalid JSON payload received. Unknown name "{unknown[1]}"{place}: Cannot find field.', path)
    return invalid(f"Invalid value at '{path}': {what}", path)
