"""Messages requests -> the common vocabulary: the members of a request. Its turns are read in ``prompt_turns``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.anthropic.prompt_turns import Reader
from tokenwire.dialects.prompt.reading import Fields, fields_of
from tokenwire.dialects.prompt.vocabulary import Output, Prompt, Reasoning, Said, Tool, ToolChoice, Turn
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Part
    from tokenwire.dialects.request_body import GenerateRequest

#: Members that are the relay's own business.
_OURS: Final = ("model", "stream")


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a Messages request.

    Raises:
        RequestRefused: 400, naming the member that is not as the dialect has it.
    """
    fields = fields_of(request.fields)
    for name in _OURS:
        fields.any(name)
    reader = Reader()
    system = _system(fields, reader)
    prompt = Prompt(turns=[*system, *reader.turns(fields.objects("messages"))], rest=reader.rest)
    _tools(fields, prompt)
    _choice(fields, prompt)
    _config(fields, prompt)
    _thinking(fields, prompt)
    prompt.max_tokens, prompt.top_k = fields.whole("max_tokens"), fields.whole("top_k")
    prompt.temperature, prompt.top_p = fields.number("temperature"), fields.number("top_p")
    prompt.stop = fields.texts("stop_sequences")
    prompt.service_tier = fields.text("service_tier")
    prompt.where |= {"stop": "stop_sequences", "user": "metadata.user_id"}
    if (metadata := fields.object("metadata")) is not None:
        prompt.user = metadata.text("user_id")
        prompt.rest |= metadata.rest()
    prompt.rest |= fields.rest()
    return prompt


def _system(fields: Fields, reader: Reader) -> list[Turn]:
    value = fields.any("system")
    if isinstance(value, str):
        parts: list[Part] = [Said(text=value, where="system")] if value else []
    else:
        parts = [reader.part(block) for block in fields.objects("system")]
    return [Turn(role="system", parts=parts, where="system")] if parts else []


def _tools(fields: Fields, prompt: Prompt) -> None:
    for entry in fields.objects("tools"):
        if entry.text("type") not in (None, "custom"):  # one that Anthropic runs itself
            prompt.rest[entry.where] = entry.value
            continue
        tool = Tool(
            name=entry.need("name"),
            description=entry.text("description"),
            parameters=entry.mapping("input_schema"),
            strict=entry.flag("strict"),
            where=entry.where,
        )
        prompt.tools.append(tool)
        if entry.flag("defer_loading"):
            prompt.rest[entry.at("defer_loading")] = True
        if entry.array("allowed_callers") not in ([], ["direct"]):
            prompt.rest[entry.at("allowed_callers")] = entry.array("allowed_callers")
        prompt.rest |= entry.rest()


def _choice(fields: Fields, prompt: Prompt) -> None:
    choice = fields.object("tool_choice")
    if choice is None:
        return
    kind = choice.word("type", "auto", "any", "tool", "none")
    if choice.flag("disable_parallel_tool_use"):
        prompt.parallel_tools = False
        prompt.where["parallel_tools"] = "tool_choice.disable_parallel_tool_use"
    if kind == "tool":
        prompt.tool_choice = ToolChoice(mode="required", names=[choice.need("name")], where="tool_choice")
    elif kind is not None:
        modes: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
        prompt.tool_choice = ToolChoice(mode=modes[kind], where="tool_choice")
    else:
        raise refused("'tool_choice.type' is missing", "tool_choice.type")
    prompt.rest |= choice.rest()


def _config(fields: Fields, prompt: Prompt) -> None:
    """How much effort, and the form of the answer, which has an older name beside it."""
    config = fields.object("output_config")
    form = fields.object("output_format")
    if config is not None:
        effort: Any = config.word("effort", "low", "medium", "high", "xhigh", "max")
        if effort is not None:
            prompt.reasoning = Reasoning(effort=effort, where="output_config.effort")
        form = config.object("format") or form
        prompt.rest |= config.rest()
    if form is None:
        return
    form.word("type", "json_schema")
    prompt.output = Output(schema=form.mapping("schema") or {}, strict=True, where=form.where)
    prompt.rest |= form.rest()


def _thinking(fields: Fields, prompt: Prompt) -> None:
    """Thinking, beside an effort or without. ``adaptive`` leaves it to the model: that is what an effort does, too."""
    thinking = fields.object("thinking")
    if thinking is None:
        return
    kind = thinking.need("type")
    display = thinking.word("display", "summarized", "omitted")
    found = prompt.reasoning = prompt.reasoning or Reasoning(where="thinking")
    found.show = None if kind == "disabled" else display != "omitted"  # who asks for thinking is told it
    if kind == "enabled":
        found.budget, found.where = thinking.whole("budget_tokens"), "thinking"
    elif kind == "disabled":
        found.budget, found.where = 0, "thinking"
    elif kind != "adaptive":
        prompt.rest["thinking.type"] = kind
    elif found.effort is None:
        found.budget = -1
    prompt.rest |= thinking.rest()
