"""What an app hands to ``Relay.respond``, as a request in a dialect: parsed like the body of the gateway's routes.

A conversation is taken in the dialect's own shape or in OpenAI chat's, whichever it has; what is sent upstream is
translated by the gateway from there.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tokenwire import dialects
from tokenwire.dialects.anthropic.prompt_write import MAX_TOKENS
from tokenwire.dialects.gemini.request import parse_request as parse_gemini
from tokenwire.dialects.request_body import GenerateRequest, raw, read_body, refused, write_body
from tokenwire.errors import BadArgument, RequestRefused
from tokenwire.gateway import agui, ui_chat
from tokenwire.gateway.streams import StartRequest, as_stream
from tokenwire.gateway.vendors import GEMINI, VENDORS, Caller

#: Stands for a model until it is known which.
UNNAMED: Final = "-"

#: Where each dialect has its conversation, if not in ``messages``.
_MESSAGES: Final = {"openai.responses": "input", "gemini": "contents"}
_CHAT: Final = ("native", "openai.chat")
#: Parts of OpenAI chat's messages that no other dialect has.
_CHAT_PARTS: Final = frozenset({"image_url", "input_audio", "file"})
#: What older versions of useChat put beside a message's text.
_AI_SDK: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})


class Asked(Struct, frozen=True, kw_only=True):
    """A question, checked.

    Attributes:
        caller: the dialect that *request* is in.
        request: its model may be ``UNNAMED``.
        said: what the body of a native start says beside the request.
    """

    caller: Caller
    request: GenerateRequest
    said: StartRequest | None = None

    @property
    def size(self) -> bytes:
        """The request as bytes, to estimate its tokens from."""
        return write_body(self.request.fields)


def check_dialect(name: str) -> None:
    """Raises ``BadArgument`` for a dialect that nobody can be answered in."""
    try:
        dialects.get(name)
    except RequestRefused as error:
        raise BadArgument("dialect", str(error)) from None


def ask(
    dialect: str,
    *,
    model: str | None,
    messages: Any,
    system: str | None,
    body: Any,
    chat_id: str | None,
    members: Mapping[str, Any],
) -> Asked:
    """The request that *messages* and *members*, or *body*, make in *dialect*.

    Raises:
        RequestRefused: 400, for what a client may have sent: it is to be told.
        BadArgument: for what only the app's own code can have done.
    """
    if body is not None:
        return _whole(dialect, _encoded(body), model, system, members)
    if not isinstance(messages, list | tuple):
        what = "you must provide 'messages'" if messages is None else "'messages' must be an array"
        raise RequestRefused(400, "missing_required_parameter" if messages is None else "invalid_request", what,
                             param="messages")  # fmt: skip
    shape = dialect if _own(dialect, messages) else "openai.chat"
    fields = _FORMS[shape](list(messages), chat_id) | dict(members)
    if shape == "openai.chat" and dialect == "ui-messages":
        fields["messages"] = [_trimmed(message) for message in fields["messages"]]
    return _whole(shape, _encoded(fields), model, system, {}, told=dialect)


def _whole(
    dialect: str,
    body: bytes,
    model: str | None,
    system: str | None,
    members: Mapping[str, Any],
    *,
    told: str | None = None,
) -> Asked:
    """*body* is a whole one in *dialect*; *told*: the dialect of the answer, where that is another."""
    fields = read_body(body, (), array=None)
    if dialect == "native" and "request" in fields:
        return _native(body, model, system, members)
    if dialect == "native":
        dialect, told = "openai.chat", "native"
    fields |= {name: Raw(_json(value)) for name, value in members.items()}
    if system is not None:
        _instruct(dialect, fields, system)
    streaming = fields.pop("stream", None) if dialect == "gemini" else None
    if dialect == "gemini":
        named = fields.pop("model", None)
        model = model or (None if named is None else msgspec.json.decode(named))
    elif dialect == "agui":
        pass  # its model is in forwardedProps
    elif model is not None or "model" not in fields:
        fields["model"] = raw(model or UNNAMED)
    if told == "native":
        fields["stream"] = raw(True)
    caller = _caller(dialect, model, streaming != Raw(b"false"))
    request = caller.parse(write_body(fields))
    return Asked(caller=caller, request=msgspec.structs.replace(request, model=model or request.model or UNNAMED))


def _native(body: bytes, model: str | None, system: str | None, members: Mapping[str, Any]) -> Asked:
    """What ``POST /v1/streams`` takes."""
    try:
        said = msgspec.json.decode(body, type=StartRequest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestRefused(400, "bad_request", f"the body: {error}") from error
    if said.dialect not in VENDORS:
        taken = " and ".join(VENDORS)
        raise RequestRefused(400, "unsupported_dialect", f"requests are taken in {taken}", param="dialect")
    asked = _whole(said.dialect, bytes(said.request), model, system, members)
    return msgspec.structs.replace(asked, request=as_stream(asked.request), said=said)


def _caller(dialect: str, model: str | None, streaming: bool) -> Caller:
    if dialect == "ui-messages":
        return ui_chat.CALLER
    if dialect == "agui":
        return agui.CALLER
    if dialect == "gemini":  # whose route has what others have in the body
        return replace(GEMINI, parse=partial(parse_gemini, model=model or UNNAMED, stream=streaming))
    return VENDORS[dialect]


def _own(dialect: str, messages: Any) -> bool:
    """Whether *messages* are in the shape of *dialect*, and not in OpenAI chat's."""
    if dialect in _CHAT:
        return False
    talk = [message for message in messages if isinstance(message, Mapping)]
    if dialect in ("ui-messages", "gemini"):
        return any("parts" in message for message in talk)
    if dialect == "agui":
        return bool(talk) and all("id" in message for message in talk)
    parts = [part for message in talk for part in _parts(message)]
    kinds = {str(part.get("type")) for part in parts}
    called = any("tool_call_id" in message or message.get("role") in ("tool", "function") for message in talk)
    if dialect == "ollama":
        return not parts and not any("tool_call_id" in message for message in talk)
    if dialect == "anthropic":
        foreign = any(message.get("role") in ("system", "developer") for message in talk)
        return not (called or foreign or kinds & _CHAT_PARTS or any("tool_calls" in message for message in talk))
    return not (called or kinds & {"text", *_CHAT_PARTS} or any("tool_calls" in message for message in talk))


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list | tuple) else []


def _trimmed(message: Any) -> Any:
    """A message as older versions of the AI SDK have it, as OpenAI's chat does."""
    if not isinstance(message, Mapping) or "id" not in message:
        return message
    return {name: value for name, value in message.items() if name in _AI_SDK}


def _streamed(name: str, **more: Any) -> Any:
    return lambda messages, chat_id: {**more, name: messages, "stream": True}


def _ui(messages: list[Any], chat_id: str | None) -> dict[str, Any]:
    return {"id": chat_id or "", "messages": messages}


def _agui(messages: list[Any], chat_id: str | None) -> dict[str, Any]:
    run = uuid.uuid4().hex
    return {
        "threadId": chat_id or run, "runId": run, "state": {}, "messages": messages, "tools": [], "context": [],
        "forwardedProps": {},
    }  # fmt: skip


#: A body around a conversation, in each shape that it may have.
_FORMS: Final = {
    "openai.chat": _streamed("messages"),
    "anthropic": _streamed("messages", max_tokens=MAX_TOKENS),
    "openai.responses": _streamed("input"),
    "gemini": _streamed("contents"),
    "ollama": _streamed("messages"),
    "ui-messages": _ui,
    "agui": _agui,
}


def _instruct(dialect: str, fields: dict[str, Raw], system: str) -> None:
    """Put *system* where the dialect has it: instead of what a client has put there, or before its messages."""
    if dialect in ("anthropic", "ui-messages", "openai.responses"):
        fields["instructions" if dialect == "openai.responses" else "system"] = Raw(_json(system))
    elif dialect == "gemini":
        fields.pop("system_instruction", None)
        fields["systemInstruction"] = Raw(_json({"parts": [{"text": system}]}))
    else:
        message = {"role": "system", "content": system}
        if dialect == "agui":
            message["id"] = "system"
        name = _MESSAGES.get(dialect, "messages")
        talk = bytes(fields.get(name, Raw(b"[]"))).strip()
        if not talk.startswith(b"["):
            raise refused(f"{name!r} must be an array", name)
        rest = talk[1:].lstrip()
        first = _json(message)
        fields[name] = Raw(b"[" + first + (b"" if rest.startswith(b"]") else b",") + rest)


def _encoded(value: Any) -> bytes:
    """*value* as JSON; models of pydantic and the like as what they dump."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return value.encode("utf-8", "replace") if isinstance(value, str) else _json(value)


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=_plain_object)
    except UnicodeEncodeError:  # half a character, as JavaScript cuts them: legal JSON, and not UTF-8
        return json.dumps(value, default=_plain_object).encode()
    except TypeError as error:
        raise BadArgument("messages", f"cannot be written as JSON: {error}") from error


def _plain_object(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} is no JSON")
    return dump(mode="json", exclude_none=True)
