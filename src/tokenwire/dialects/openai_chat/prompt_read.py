"""Chat requests -> the common vocabulary: the members of a request. Its messages are read in ``prompt_messages``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from tokenwire.dialects.openai_chat.prompt_messages import Reader
from tokenwire.dialects.prompt.reading import Fields, fields_of
from tokenwire.dialects.prompt.vocabulary import Effort, Output, Prompt, Reasoning, Tool, ToolChoice
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from tokenwire.dialects.request_body import GenerateRequest

#: Members that are the relay's own business.
_OURS: Final = ("model", "stream", "stream_options")

#: Our names of the members that stand in a request as they are.
_PLAIN: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a chat request.

    Raises:
        RequestRefused: 400, naming the member that is not as the dialect has it.
    """
    fields = fields_of(request.fields)
    for name in _OURS:
        fields.any(name)
    reader = Reader()
    prompt = Prompt(turns=reader.turns(fields.objects("messages")), rest=reader.rest)
    _tools(fields, prompt)
    prompt.tool_choice = _choice(fields)
    prompt.parallel_tools = fields.flag("parallel_tool_calls")
    prompt.output = _output(fields, prompt)
    prompt.reasoning = _reasoning(fields, prompt)
    _numbers(fields, prompt)
    _words(fields, prompt)
    prompt.rest |= fields.rest()
    return prompt


def _numbers(fields: Fields, prompt: Prompt) -> None:
    for name in _PLAIN:
        setattr(prompt, name, fields.number(name))
    prompt.top_k, prompt.seed, prompt.n = fields.whole("top_k"), fields.whole("seed"), fields.whole("n")
    newer, older = fields.whole("max_completion_tokens"), fields.whole("max_tokens")
    prompt.max_tokens = older if newer is None else newer
    prompt.where["max_tokens"] = "max_tokens" if newer is None else "max_completion_tokens"
    alternatives = fields.whole("top_logprobs")
    if fields.flag("logprobs"):
        prompt.logprobs = alternatives or 0
    elif alternatives:
        raise refused("'top_logprobs' is of use only with 'logprobs'", "top_logprobs")


def _words(fields: Fields, prompt: Prompt) -> None:
    stop = fields.any("stop")
    prompt.stop = [stop] if isinstance(stop, str) else fields.texts("stop")
    newer, older = fields.text("safety_identifier"), fields.text("user")
    prompt.user = older if newer is None else newer
    prompt.where["user"] = "user" if newer is None else "safety_identifier"
    prompt.metadata = fields.mapping("metadata")
    prompt.service_tier = fields.text("service_tier")
    if fields.any("modalities") not in (None, ["text"]):
        prompt.rest["modalities"] = fields.any("modalities")
    if fields.any("verbosity") not in (None, "medium"):  # what everyone has who does not ask
        prompt.rest["verbosity"] = fields.any("verbosity")
    if fields.any("logit_bias"):
        prompt.rest["logit_bias"] = fields.any("logit_bias")


def _tools(fields: Fields, prompt: Prompt) -> None:
    for entry in fields.objects("tools"):
        function = entry.object("function") if entry.text("type") in (None, "function") else None
        if function is None:  # custom tools, and those that a server runs itself
            prompt.rest[entry.where] = entry.value
            continue
        prompt.tools.append(_tool(function, entry.where))
        prompt.tools[-1].strict = function.flag("strict")
        prompt.rest |= entry.rest() | function.rest()
    for function in fields.objects("functions"):  # their name before they were one kind of tool
        prompt.tools.append(_tool(function, function.where))
        prompt.rest |= function.rest()


def _tool(function: Fields, where: str) -> Tool:
    return Tool(
        name=function.need("name"),
        description=function.text("description"),
        parameters=function.mapping("parameters"),
        where=where,
    )


def _choice(fields: Fields) -> ToolChoice | None:
    if fields.any("function_call") is not None:
        return _old_choice(fields)
    value = fields.any("tool_choice")
    if value is None or isinstance(value, str):
        mode = fields.word("tool_choice", "auto", "none", "required", "any")  # Mistral says any
        return None if mode is None else ToolChoice(mode=_MODES[mode], where="tool_choice")
    choice = Fields(value, "tool_choice")
    kind = choice.word("type", "function", "allowed_tools", "custom")
    if kind == "function":
        function = choice.object("function") or choice
        return ToolChoice(mode="required", names=[function.need("name")], where="tool_choice")
    allowed = choice.object("allowed_tools")
    if allowed is None:
        raise refused("'tool_choice' names a tool that is no function", "tool_choice")
    mode = _MODES[allowed.word("mode", "auto", "required") or "auto"]
    names = [_named(entry) for entry in allowed.objects("tools")]
    return ToolChoice(mode=mode, names=names, where="tool_choice")


_MODES: Final[dict[str, Any]] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def _named(entry: Fields) -> str:
    function = entry.object("function")
    return (function or entry).need("name")


def _old_choice(fields: Fields) -> ToolChoice | None:
    value = fields.any("function_call")
    if isinstance(value, str):
        mode = fields.word("function_call", "auto", "none")
        return ToolChoice(mode="auto" if mode == "auto" else "none", where="function_call")
    return ToolChoice(mode="required", names=[Fields(value, "function_call").need("name")], where="function_call")


def _output(fields: Fields, prompt: Prompt) -> Output | None:
    form = fields.object("response_format")
    kind = None if form is None else form.word("type", "text", "json_object", "json_schema")
    if form is None or kind in (None, "text"):
        return None
    described = form.object("json_schema")
    if kind == "json_object":
        return Output(where="response_format")
    if described is None:
        raise refused("'response_format.json_schema' is missing", "response_format.json_schema")
    output = Output(
        schema=described.mapping("schema") or {},
        name=described.text("name"),
        description=described.text("description"),
        strict=described.flag("strict"),
        where="response_format",
    )
    prompt.rest |= described.rest()
    return output


def _reasoning(fields: Fields, prompt: Prompt) -> Reasoning | None:
    """OpenAI's word; OpenRouter's object; the switch that DeepSeek and others copied from Anthropic."""
    effort: Any = fields.word("reasoning_effort", *get_args(Effort))
    # Compatible servers tell what they think wherever they are asked to: so does any other upstream.
    found = (
        None if effort is None else Reasoning(effort=effort, show=effort != "none" or None, where="reasoning_effort")
    )
    if (given := fields.object("reasoning")) is not None:
        effort, budget = given.word("effort", *get_args(Effort)), given.whole("max_tokens")
        if given.flag("enabled") is False:
            budget = 0
        found = Reasoning(effort=effort, budget=budget, show=not given.flag("exclude") and None, where="reasoning")
        prompt.rest |= given.rest()
    if (switch := fields.object("thinking")) is not None:
        kind = switch.word("type", "enabled", "disabled", "adaptive", "auto")
        if found is None:
            found = Reasoning(budget=0 if kind == "disabled" else -1, where="thinking")
        prompt.rest |= switch.rest()
    return found
