"""``RunAgentInput`` -> a prompt: messages, tools, what the application says of itself, and answers to calls.

Messages of the assistant's that follow one another, and its thoughts between them, are one turn: this dialect has one
for each run of text. ``context`` and ``state`` are told in a system turn after the application's own instructions.
Messages of the role ``activity`` are for the client only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.agui.content import read_content, text_of
from tokenwire.dialects.agui.decode import ours_of
from tokenwire.dialects.agui.words import NAME
from tokenwire.dialects.prompt.fit import Prompts
from tokenwire.dialects.prompt.vocabulary import Call, Prompt, Refused, Result, Said, Thought, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.signatures import unwrap
from tokenwire.dialects.ui_messages.request import value_of
from tokenwire.dialects.ui_messages.settings import ANYTHING, read_settings, read_tools
from tokenwire.dialects.ui_messages.words import as_text

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Part, Role
    from tokenwire.dialects.request_body import GenerateRequest

#: The protocol's own members that say nothing to a model.
_KNOWN: Final = frozenset({"threadId", "runId", "parentRunId", "protocolVersion"})
_READ: Final = frozenset({"messages", "tools", "context", "state", "forwardedProps", "resume"})

_CANCELLED: Final = "the user cancelled this call"


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a parsed request.

    Raises:
        RequestRefused: 400, naming the member that is not as AG-UI has it.
    """
    fields = request.fields
    prompt = Prompt()
    names: dict[str, str] = {}  # call -> tool
    for number, message in enumerate(_objects(value_of(fields, "messages"), "messages")):
        _message(message, f"messages.{number}", prompt.turns, names)
    _resume(_objects(value_of(fields, "resume"), "resume"), prompt.turns, names)
    _told(_objects(value_of(fields, "context"), "context"), value_of(fields, "state"), prompt.turns)
    if tools := value_of(fields, "tools"):
        prompt.tools = read_tools(tools, "tools")
    props = value_of(fields, "forwardedProps")
    if isinstance(props, dict):
        read_settings({name: props[name] for name in props if name != "model"}, prompt, "forwardedProps.")
    prompt.rest |= {name: value_of(fields, name) for name in fields if name not in _KNOWN | _READ}
    return prompt


def _message(message: dict[str, Any], where: str, turns: list[Turn], names: dict[str, str]) -> None:
    role = message.get("role")
    if role == "user":
        _turn(turns, "user", where, fresh=True).parts += read_content(message.get("content"), f"{where}.content")
    elif role == "system" or role == "developer":
        text = message.get("content")
        if not isinstance(text, str):
            raise refused(f"'{where}.content' must be a string", f"{where}.content")
        _turn(turns, "system", where, fresh=True).parts.append(Said(text=text, where=where))
    elif role == "assistant":
        _turn(turns, "assistant", where).parts += _assistant(message, where, names)
    elif role == "reasoning":
        _turn(turns, "assistant", where).parts.append(_thought(message, where, str(message.get("content") or "")))
    elif role == "tool":
        _turn(turns, "tool", where).parts.append(_result(message, where, names))
    elif role != "activity":
        raise refused(f"'{where}.role' is none that AG-UI has", f"{where}.role")


def _turn(turns: list[Turn], role: Role, where: str, *, fresh: bool = False) -> Turn:
    """The last turn, if it is of that role, else a new one."""
    if fresh or not turns or turns[-1].role != role:
        turns.append(Turn(role=role, parts=[], where=where))
    return turns[-1]


def _assistant(message: dict[str, Any], where: str, names: dict[str, str]) -> list[Part]:
    parts: list[Part] = []
    text = message.get("content")
    if text is not None and not isinstance(text, str):
        raise refused(f"'{where}.content' must be a string", f"{where}.content")
    if text:
        declined = ours_of(message).get("refusal") is True
        parts.append(Refused(text=text, where=where) if declined else Said(text=text, where=where))
    if isinstance(message.get("encryptedValue"), str):  # of a text: it goes with what it proves
        parts.append(_thought(message, where, ""))
    for number, call in enumerate(_objects(message.get("toolCalls"), f"{where}.toolCalls")):
        parts.append(_call(call, f"{where}.toolCalls.{number}", names))
    return parts


def _call(call: dict[str, Any], where: str, names: dict[str, str]) -> Call:
    function = call.get("function")
    fields: dict[str, Any] = function if isinstance(function, dict) else {}
    id_, name, arguments = call.get("id"), fields.get("name"), fields.get("arguments")
    if not isinstance(id_, str) or not isinstance(name, str) or not isinstance(arguments, str | None):
        raise refused(f"{where!r} must be a call with an id, a name and arguments in a string", where)
    names[id_] = name
    signature, maker = _proof(call)
    return Call(id=id_, name=name, arguments=arguments or "{}", signature=signature, dialect=maker, where=where)


def _thought(message: dict[str, Any], where: str, text: str) -> Thought:
    signature, maker = _proof(message)
    return Thought(text=text, signature=signature, dialect=maker, where=where)


def _proof(fields: dict[str, Any]) -> tuple[str | None, str]:
    value = fields.get("encryptedValue")
    return unwrap(value, NAME) if isinstance(value, str) else (None, "")


def _result(message: dict[str, Any], where: str, names: dict[str, str]) -> Result:
    id_ = message.get("toolCallId")
    if not isinstance(id_, str):
        raise refused(f"'{where}.toolCallId' must be a string", f"{where}.toolCallId")
    parts = read_content(message.get("content"), f"{where}.content")
    error = message.get("error")
    if isinstance(error, str) and error and error not in [part.text for part in parts if isinstance(part, Said)]:
        parts.append(Said(text=error, where=f"{where}.error"))
    return Result(call_id=id_, name=names.get(id_, ""), parts=parts, error=bool(error), where=where)


def _resume(answers: list[dict[str, Any]], turns: list[Turn], names: dict[str, str]) -> None:
    """Answers to interrupts. No run of ours ends in one, but in calls, whose results are messages: so an interrupt
    can only be a call that waits for its answer."""
    answered = {part.call_id for turn in turns for part in turn.parts if isinstance(part, Result)}
    for number, answer in enumerate(answers):
        where = f"resume.{number}"
        id_ = answer.get("interruptId")
        if not isinstance(id_, str) or id_ not in names or id_ in answered:
            raise refused(f"'{where}.interruptId' names no call that waits for an answer", f"{where}.interruptId")
        cancelled = answer.get("status") == "cancelled"
        text = _CANCELLED if cancelled else as_text(answer.get("payload"))
        said = Said(text=text, where=where)
        result = Result(call_id=id_, name=names[id_], parts=[said], error=cancelled, where=where)
        _turn(turns, "tool", where).parts.append(result)


def _told(context: list[dict[str, Any]], state: Any, turns: list[Turn]) -> None:
    """What the application says of itself, after its instructions and before the conversation."""
    lines = [f"{text_of(each, 'description')}: {text_of(each, 'value')}" for each in context]
    if state not in (None, {}, [], ""):
        lines.append(f"State of the application, as JSON: {as_text(state)}")
    if lines:
        at = next((number for number, turn in enumerate(turns) if turn.role != "system"), len(turns))
        where = "context" if context else "state"
        turns.insert(at, Turn(role="system", parts=[Said(text="\n".join(lines), where=where)], where=where))


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A member that is a list of objects, or missing."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise refused(f"{where!r} must be an array of objects", where)
    return value


#: ``forwardedProps`` are whatever the application and its frontend agreed on: left out with a note, never refused.
PROMPTS: Final = Prompts(read=read, write=None, table={}, harmless=ANYTHING)
