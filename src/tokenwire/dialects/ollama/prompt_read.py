"""``/api/chat`` requests -> the common vocabulary."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.ollama.form import NAME
from tokenwire.dialects.prompt.media import guess
from tokenwire.dialects.prompt.reading import Fields, fields_of
from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Media,
    Output,
    Prompt,
    Reasoning,
    Result,
    Said,
    Thought,
    Tool,
    Turn,
)
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.vocabulary import Effort, Part, Role
    from tokenwire.dialects.request_body import GenerateRequest

_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_EFFORTS: Final[dict[str, Effort]] = {"low": "low", "medium": "medium", "high": "high", "max": "max"}
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*")

#: Options that are what everyone has who does not ask: then they say nothing.
_NEUTRAL: Final = {"repeat_penalty": 1, "mirostat": 0, "min_p": 0, "typical_p": 1, "tfs_z": 1}


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a chat request.

    Raises:
        RequestRefused: 400, naming the member that is not as the dialect has it.
    """
    fields = fields_of(request.fields)
    reader = _Reader()
    prompt = Prompt(turns=reader.turns(fields.objects("messages")), rest=reader.rest)
    for entry in fields.objects("tools"):
        prompt.tools.append(_tool(entry, prompt))
    read_common(fields, prompt)
    return prompt


def read_common(fields: Fields, prompt: Prompt) -> None:
    """The members that both kinds of request have; what is left of *fields* goes into ``rest``. Raises as ``read``."""
    for name in ("model", "stream"):
        fields.any(name)
    prompt.output = _output(fields)
    prompt.reasoning = _reasoning(fields)
    alternatives = fields.whole("top_logprobs")
    if fields.flag("logprobs"):
        prompt.logprobs = alternatives or 0
    elif alternatives:
        raise refused("'top_logprobs' is of use only with 'logprobs'", "top_logprobs")
    options = fields.object("options")
    if options is not None:
        _options(options, prompt)
    prompt.rest |= fields.rest()


def picture(data: Any, where: str) -> Media:
    """An entry of ``images``. Raises as ``read``."""
    if not isinstance(data, str) or not _BASE64.fullmatch(data):
        raise refused(f"{where!r} must be base64", where)
    data = data.replace("\r", "").replace("\n", "")
    return Media(kind="image", mime=guess(data, "image/png"), data=data, where=where)


def pictures(fields: Fields) -> list[Media]:
    """The member ``images``. Raises as ``read``."""
    at = fields.at("images")
    return [picture(data, f"{at}.{position}") for position, data in enumerate(fields.array("images"))]


class _Reader:
    """Reads the messages of one request, in order. Calls have often no id, and results name only the function, or
    nothing: a result is that of the first call of that name that has none yet.

    Attributes:
        rest: members of them that were not understood, by path.
    """

    def __init__(self) -> None:
        self.rest: dict[str, Any] = {}
        self._open: OrderedDict[str, Call] = OrderedDict()  # by id, without a result so far
        self._named: dict[str, OrderedDict[str, Call]] = {}  # the same by name
        self._count = 0

    def turns(self, messages: Iterable[Fields]) -> list[Turn]:
        turns: list[Turn] = []
        for message in messages:
            turn = self._turn(message)
            if turn.role == "tool" and turns and turns[-1].role == "tool":
                turns[-1].parts += turn.parts
            else:
                turns.append(turn)
            self.rest |= message.rest()
        return turns

    def _turn(self, message: Fields) -> Turn:
        role = message.word("role", *_ROLES)
        if role is None:
            raise refused(f"{message.at('role')!r} is missing", message.at("role"))
        said: list[Said | Media] = []
        if text := message.text("content"):
            said.append(Said(text=text, where=message.at("content")))
        said += pictures(message)
        if role == "tool":
            return Turn(role="tool", parts=[self._result(message, said)], where=message.where)
        parts: list[Part] = [*said]
        if role == "assistant":
            if thought := message.text("thinking"):
                parts.insert(0, Thought(text=thought, dialect=NAME, where=message.at("thinking")))
            parts += self._calls(message)
        return Turn(role=_ROLES[role], parts=parts, where=message.where)

    def _calls(self, message: Fields) -> list[Call]:
        calls: list[Call] = []
        for entry in message.objects("tool_calls"):
            function = entry.object("function")
            if function is None:
                raise refused(f"{entry.at('function')!r} is missing", entry.at("function"))
            entry.any("type")
            function.any("index")
            self._count += 1
            arguments = msgspec.json.encode(function.mapping("arguments") or {}).decode()
            id_, name = entry.text("id") or f"call_{self._count}", function.need("name")
            calls.append(Call(id=id_, name=name, arguments=arguments, where=entry.where))
            self._answered(id_)
            self._open[id_] = self._named.setdefault(name, OrderedDict())[id_] = calls[-1]
            self.rest |= entry.rest() | function.rest()
        return calls

    def _result(self, message: Fields, parts: list[Said | Media]) -> Result:
        id_, name = message.text("tool_call_id"), message.text("tool_name") or message.text("name")
        message.any("name")
        if id_ is None or id_ not in self._open:
            waiting = self._open if name is None else self._named.get(name)
            if not waiting:
                of = f"of {name!r} " if name else ""
                raise refused(f"{message.where!r} is a result, and no call {of}before it lacks one", message.where)
            id_ = next(iter(waiting))
        call = self._answered(id_)
        assert call is not None
        return Result(call_id=call.id, name=call.name, parts=parts, where=message.where)

    def _answered(self, id: str) -> Call | None:
        """The open call of that id, which no longer is."""
        call = self._open.pop(id, None)
        if call is not None:
            del self._named[call.name][id]
        return call


def _tool(entry: Fields, prompt: Prompt) -> Tool:
    function = entry.object("function")
    if entry.text("type") not in (None, "function") or function is None:
        raise refused(f"{entry.where!r} must be a function", entry.where)
    tool = Tool(
        name=function.need("name"),
        description=function.text("description"),
        parameters=function.mapping("parameters"),
        where=entry.where,
    )
    prompt.rest |= entry.rest() | function.rest()
    return tool


def _output(fields: Fields) -> Output | None:
    form = fields.any("format")
    if isinstance(form, dict):
        return Output(schema=form, where="format")
    if form not in (None, "", "json"):
        raise refused("'format' must be 'json' or a JSON Schema", "format")
    return Output(where="format") if form else None


def _reasoning(fields: Fields) -> Reasoning | None:
    """``think``: what is thought is always told, if there is any."""
    think = fields.any("think")
    if think is None or think == "":
        return None
    if think is False:
        return Reasoning(effort="none", where="think")
    if think is True:
        return Reasoning(budget=-1, show=True, where="think")
    if not isinstance(think, str) or think not in _EFFORTS:
        raise refused(f"'think' must be a boolean or one of {', '.join(_EFFORTS)}", "think")
    return Reasoning(effort=_EFFORTS[think], show=True, where="think")


def _options(options: Fields, prompt: Prompt) -> None:
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        setattr(prompt, name, options.number(name))
        prompt.where[name] = options.at(name)
    for name in ("top_k", "seed"):
        setattr(prompt, name, _whole(options, name))
        prompt.where[name] = options.at(name)
    most = _whole(options, "num_predict")
    prompt.max_tokens = None if most is None or most < 0 else most  # below 0: as many as it likes
    prompt.where["max_tokens"] = options.at("num_predict")
    prompt.stop = options.texts("stop")
    prompt.where["stop"] = options.at("stop")
    for name, nothing in _NEUTRAL.items():
        value = options.number(name)
        if value is not None and value != nothing:
            prompt.rest[options.at(name)] = value
    prompt.rest |= options.rest()


def _whole(options: Fields, name: str) -> int | None:
    """A whole number, which may be written as 40.0: the server takes any number for one."""
    value = options.number(name)
    if value is not None and value != value // 1:
        raise refused(f"{options.at(name)!r} must be a whole number", options.at(name))
    return None if value is None else int(value)
