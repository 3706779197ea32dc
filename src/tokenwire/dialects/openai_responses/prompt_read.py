"""Responses requests -> the common vocabulary: the members of a request. Its input is read in ``prompt_items``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from tokenwire.dialects.openai_responses.prompt_items import Reader
from tokenwire.dialects.prompt.reading import Fields, fields_of
from tokenwire.dialects.prompt.vocabulary import Effort, Output, Prompt, Reasoning, Said, Tool, ToolChoice, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.errors import RequestRefused

if TYPE_CHECKING:
    from tokenwire.dialects.request_body import GenerateRequest

#: Members that are the relay's own business.
_OURS: Final = ("model", "stream", "stream_options")

#: What of ``include`` is answered here; the rest tells more of tools that run at the provider.
_LOGPROBS: Final = "message.output_text.logprobs"
_THOUGHTS: Final = "reasoning.encrypted_content"

#: Members that stand for what only OpenAI keeps -> why another upstream cannot be asked.
_KEPT: Final = {
    "previous_response_id": "the response that it names is kept by OpenAI, not here: send its input and output again",
    "conversation": "the conversation that it names is kept by OpenAI, not here: send its items as 'input'",
    "background": "an answer in the background must be kept, and other upstreams keep none",
}


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a Responses request.

    Raises:
        RequestRefused: 400, naming the member that is not as the dialect has it, or that needs what OpenAI keeps.
    """
    fields = fields_of(request.fields)
    for name in _OURS:
        fields.any(name)
    for name, why in _KEPT.items():
        if fields.any(name) not in (None, False):
            message = f"{name!r} cannot be asked of this model, whose upstream is not OpenAI's Responses: {why}"
            raise RequestRefused(400, "unsupported_parameter", message, param=name)
    reader = Reader()
    prompt = Prompt(turns=_turns(fields, reader), rest=reader.rest)
    _tools(fields, prompt)
    prompt.tool_choice = _choice(fields)
    prompt.parallel_tools = fields.flag("parallel_tool_calls")
    prompt.where["parallel_tools"] = "parallel_tool_calls"
    _output(fields, prompt)
    _reasoning(fields, prompt)
    _logprobs(fields, prompt)
    prompt.max_tokens = fields.whole("max_output_tokens")
    prompt.where["max_tokens"] = "max_output_tokens"
    prompt.temperature, prompt.top_p = fields.number("temperature"), fields.number("top_p")
    newer, older = fields.text("safety_identifier"), fields.text("user")
    prompt.user = older if newer is None else newer
    prompt.where["user"] = "user" if newer is None else "safety_identifier"
    prompt.metadata = fields.mapping("metadata")
    prompt.service_tier = fields.text("service_tier")
    if fields.flag("store"):
        prompt.rest["store"] = True
    if fields.any("truncation") not in (None, "disabled"):  # what everyone has who does not ask
        prompt.rest["truncation"] = fields.any("truncation")
    prompt.rest |= fields.rest()
    return prompt


def _turns(fields: Fields, reader: Reader) -> list[Turn]:
    turns: list[Turn] = []
    if instructions := fields.text("instructions"):
        said = Said(text=instructions, where="instructions")
        turns.append(Turn(role="system", parts=[said], where="instructions"))
    given = fields.any("input")
    if isinstance(given, str):
        return [*turns, Turn(role="user", parts=[Said(text=given, where="input")], where="input")]
    return turns + reader.turns(fields.objects("input"))


def _tools(fields: Fields, prompt: Prompt) -> None:
    for entry in fields.objects("tools"):
        if entry.text("type") != "function":  # those that the provider runs itself, and custom tools
            prompt.rest[f"{entry.where} ({entry.any('type')})"] = entry.rest()
            continue
        prompt.tools.append(
            Tool(
                name=entry.need("name"),
                description=entry.text("description"),
                parameters=entry.mapping("parameters"),
                strict=entry.flag("strict"),
                where=entry.where,
            )
        )
        prompt.rest |= entry.rest()


def _choice(fields: Fields) -> ToolChoice | None:
    value = fields.any("tool_choice")
    if value is None or isinstance(value, str):
        mode: Any = fields.word("tool_choice", "auto", "none", "required")
        return None if mode is None else ToolChoice(mode=mode, where="tool_choice")
    choice = Fields(value, "tool_choice")
    kind = choice.need("type")
    if kind == "function":
        return ToolChoice(mode="required", names=[choice.need("name")], where="tool_choice")
    if kind != "allowed_tools":
        raise refused(f"'tool_choice' names a tool that is no function ({kind})", "tool_choice")
    mode = choice.word("mode", "auto", "required") or "auto"
    names: list[str] = []
    for entry in choice.objects("tools"):
        if entry.text("type") not in (None, "function"):
            raise refused(f"{entry.where!r} is no function", entry.where)
        names.append(entry.need("name"))
    return ToolChoice(mode=mode, names=names, where="tool_choice")


def _output(fields: Fields, prompt: Prompt) -> None:
    text = fields.object("text")
    if text is None:
        return
    if text.any("verbosity") not in (None, "medium"):
        prompt.rest["text.verbosity"] = text.any("verbosity")
    form = text.object("format")
    kind = None if form is None else form.word("type", "text", "json_object", "json_schema")
    if form is not None and kind == "json_object":
        prompt.output = Output(where="text.format")
    elif form is not None and kind == "json_schema":
        prompt.output = Output(
            schema=form.mapping("schema") or {},
            name=form.text("name"),
            description=form.text("description"),
            strict=form.flag("strict"),
            where="text.format",
        )
    prompt.rest |= text.rest() | ({} if form is None else form.rest())


def _reasoning(fields: Fields, prompt: Prompt) -> None:
    given = fields.object("reasoning")
    if given is None:
        return
    effort: Any = given.word("effort", *get_args(Effort))
    newer, older = given.text("summary"), given.text("generate_summary")
    show = True if newer or older else None
    if effort is not None or show:
        prompt.reasoning = Reasoning(effort=effort, show=show, where="reasoning")
    for name, usual in (("mode", "standard"), ("context", "auto")):
        if given.any(name) not in (None, usual):
            prompt.rest[f"reasoning.{name}"] = given.any(name)
    prompt.rest |= given.rest()


def _logprobs(fields: Fields, prompt: Prompt) -> None:
    include = fields.texts("include")
    alternatives = fields.whole("top_logprobs")
    prompt.where["logprobs"] = "include"
    prompt.where["top_logprobs"] = "top_logprobs"
    if _LOGPROBS in include:
        prompt.logprobs = alternatives or 0
    elif alternatives:
        prompt.rest["top_logprobs"] = alternatives
    if others := [name for name in include if name not in (_LOGPROBS, _THOUGHTS)]:
        prompt.rest["include"] = others
