"""Tool parts of a UI message, in all their states -> calls and results."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tokenwire.dialects.prompt.vocabulary import Call, Result, Said
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.ui_messages.words import as_text

_DENIED: Final = "the user did not allow this call"
_UNANSWERED: Final = "the user has not decided whether to allow this call"


def read_call(part: dict[str, Any], kind: str, where: str) -> Call:
    """The call of a part that is whole. Raises ``RequestRefused`` (400) if it has no id or no name."""
    id_ = part.get("toolCallId")
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    if not isinstance(id_, str) or not isinstance(name, str) or not name:
        raise refused(f"{where!r} must have a toolCallId and a tool's name", where)
    value = part.get("input")
    raw = part.get("rawInput")
    if part.get("state") == "output-error" and raw is not None:
        value = raw  # what could not be read stands there whole; `input` is what was guessed of it
    return Call(id=id_, name=name, arguments=_arguments(value), where=where)


def read_result(part: dict[str, Any], call: Call, where: str) -> Result | None:
    """What the call came to; None where nobody has answered it yet.

    A call that needs somebody's leave and did not get it has failed, and the model is told why. One that was allowed
    is the server's to run, and this server runs none.

    Raises:
        RequestRefused: 400, for a call that was allowed and not run, and for a state that there is not.
    """
    state = part.get("state")
    if state == "input-available":
        return None
    if state == "output-available":
        return _result(call, as_text(part.get("output")), where)
    if state == "output-error":
        return _result(call, str(part.get("errorText") or "the tool failed"), where, error=True)
    approval = part.get("approval")
    fields: dict[str, Any] = approval if isinstance(approval, dict) else {}
    if state == "approval-requested":
        return _result(call, _UNANSWERED, where, error=True)
    if state == "output-denied" or (state == "approval-responded" and fields.get("approved") is not True):
        reason = fields.get("reason")
        return _result(call, f"{_DENIED}: {reason}" if reason else _DENIED, where, error=True)
    if state == "approval-responded":
        message = f"{where!r} was allowed, but has no output: this server runs no tools, the client must"
        raise refused(message, where)
    raise refused(f"'{where}.state' is none that a tool part has", f"{where}.state")


def _result(call: Call, text: str, where: str, *, error: bool = False) -> Result:
    return Result(call_id=call.id, name=call.name, parts=[Said(text=text, where=where)], error=error, where=where)


def _arguments(value: Any) -> str:
    """JSON text of an object, whatever the part holds."""
    if value is None or value == "":
        return "{}"
    if isinstance(value, dict):
        return as_text(value)
    if isinstance(value, str):
        try:
            if isinstance(msgspec.json.decode(value), dict):
                return value
        except (ValueError, RecursionError):
            pass
    return as_text({"INVALID_JSON": value})
