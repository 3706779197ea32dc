"""A generateContent request -> the prompt that it is. Members may be written in camelCase or in snake_case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.gemini.contents import read_contents, read_system
from tokenwire.dialects.gemini.members import Members
from tokenwire.dialects.gemini.schema import to_json_schema
from tokenwire.dialects.prompt.vocabulary import Output, Prompt, Reasoning, Tool, ToolChoice
from tokenwire.dialects.request_body import member, refused

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Effort
    from tokenwire.dialects.request_body import GenerateRequest

_LEVELS: Final[dict[str, Effort]] = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}

#: Our names of plain settings -> theirs.
_SETTINGS: Final = {
    "max_tokens": "maxOutputTokens", "temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed",
    "frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty", "n": "candidateCount",
}  # fmt: skip
_WHOLE: Final = ("max_tokens", "top_k", "seed", "n")


def read(request: GenerateRequest) -> Prompt:
    """The prompt of *request*.

    Raises:
        RequestRefused: 400, naming the member that is not as the dialect has it.
    """
    body = Members({name: member(request.fields, name) for name in request.fields})
    body.take("model")
    prompt = Prompt()
    system = body.take("systemInstruction")
    if system is not None:
        prompt.turns.append(read_system(system))
    prompt.turns += read_contents(body.take("contents"))
    for index, tool in enumerate(body.items("tools")):
        _tool(Members.of(tool, f"tools.{index}"), prompt)
    _tool_config(body.inner("toolConfig"), prompt)
    _generation(body.inner("generationConfig"), prompt)
    labels = body.take("labels")
    if labels is not None and not isinstance(labels, dict):
        raise body.wrong("labels", "an object")
    prompt.metadata, prompt.where["metadata"] = labels or None, "labels"
    prompt.service_tier, prompt.where["service_tier"] = body.text("serviceTier"), "serviceTier"
    prompt.rest.update(body.rest())
    return prompt


def _tool(tool: Members, prompt: Prompt) -> None:
    """Declarations of functions; Gemini's own tools (search, code execution …) have no counterpart."""
    for index, declared in enumerate(tool.items("functionDeclarations")):
        where = f"{tool.where}.functionDeclarations.{index}"
        function = Members.of(declared, where)
        name = function.take("name")
        if not isinstance(name, str) or not name:
            raise refused(f"'{where}.name' must be a non-empty string", f"{where}.name")
        schema = function.take("parametersJsonSchema")
        old = function.take("parameters")
        schema = to_json_schema(old) if schema is None else schema
        if schema is not None and not isinstance(schema, dict):
            raise refused(f"'{where}.parameters' must be an object", f"{where}.parameters")
        description = function.text("description")
        prompt.tools.append(Tool(name=name, description=description, parameters=schema, where=where))
        for left, value in function.rest().items():  # one name for all: it is harmless, or not, in every declaration
            prompt.rest[f"tools.functionDeclarations.{left.removeprefix(where + '.')}"] = value
    prompt.rest.update(tool.rest(empty=True))  # `googleSearch` has no options


def _tool_config(config: Members, prompt: Prompt) -> None:
    calling = config.inner("functionCallingConfig")
    mode, names = calling.text("mode"), calling.items("allowedFunctionNames")
    if not all(isinstance(name, str) for name in names):
        raise calling.wrong("allowedFunctionNames", "an array of strings")
    where = calling.where
    if mode == "ANY":
        prompt.tool_choice = ToolChoice(mode="required", names=names, where=where)
    elif mode == "NONE":
        prompt.tool_choice = ToolChoice(mode="none", where=where)
    elif mode in ("AUTO", "VALIDATED"):
        prompt.tool_choice = ToolChoice(mode="auto", names=names, where=where)
    elif mode not in (None, "", "MODE_UNSPECIFIED"):
        raise calling.wrong("mode", "one of AUTO, ANY, NONE and VALIDATED")
    prompt.rest.update(calling.rest())
    prompt.rest.update(config.rest())


def _generation(config: Members, prompt: Prompt) -> None:
    for ours, theirs in _SETTINGS.items():
        value = config.number(theirs, whole=ours in _WHOLE)
        if value is not None:
            setattr(prompt, ours, value)
            prompt.where[ours] = f"{config.where}.{theirs}"
    prompt.stop = config.items("stopSequences")
    prompt.where["stop"] = f"{config.where}.stopSequences"
    if not all(isinstance(text, str) for text in prompt.stop):
        raise config.wrong("stopSequences", "an array of strings")
    alternatives = config.number("logprobs", whole=True)
    if config.flag("responseLogprobs"):
        prompt.logprobs = int(alternatives or 0)
        prompt.where |= {
            "logprobs": f"{config.where}.responseLogprobs", "top_logprobs": f"{config.where}.logprobs",
        }  # fmt: skip
    modalities = config.items("responseModalities")
    if any(modality not in ("TEXT", "MODALITY_UNSPECIFIED") for modality in modalities):
        prompt.rest[f"{config.where}.responseModalities"] = modalities
    _output(config, prompt)
    thinking = config.inner("thinkingConfig")
    level, budget, show = (
        thinking.text("thinkingLevel"),
        thinking.number("thinkingBudget"),
        thinking.flag("includeThoughts"),
    )
    if level in ("", "THINKING_LEVEL_UNSPECIFIED"):
        level = None
    if level is not None and level.upper() not in _LEVELS:
        raise thinking.wrong("thinkingLevel", "one of " + ", ".join(_LEVELS))
    effort = None if level is None else _LEVELS[level.upper()]
    if (effort, budget, show) != (None, None, None):
        tokens = None if budget is None else int(budget)
        prompt.reasoning = Reasoning(effort=effort, budget=tokens, show=show, where=thinking.where)
    prompt.rest.update(thinking.rest())
    prompt.rest.update(config.rest())


def _output(config: Members, prompt: Prompt) -> None:
    """JSON, of a schema or of none. ``text/x.enum`` answers without quotes: no other vendor can."""
    kind, old = config.text("responseMimeType"), config.take("responseSchema")
    name = "responseJsonSchema" if old is None else "responseSchema"
    schema = to_json_schema(old) if old is not None else config.take("responseJsonSchema", "_responseJsonSchema")
    if schema is not None and not isinstance(schema, dict):
        raise config.wrong(name, "an object")
    if kind not in (None, "", "text/plain", "application/json"):
        prompt.rest[f"{config.where}.responseMimeType"] = kind
    elif schema is not None:
        prompt.output = Output(schema=schema, where=f"{config.where}.{name}")
    elif kind == "application/json":
        prompt.output = Output(where=f"{config.where}.responseMimeType")
