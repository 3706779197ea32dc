"""What ``useChat`` posts: what the relay must know of it. ``prompt`` reads the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenwire.dialects.json_text import loads, scrub
from tokenwire.dialects.request_body import GenerateRequest, flag, member, read_body, refused

if TYPE_CHECKING:
    from msgspec import Raw


class UiRequest(GenerateRequest, frozen=True):
    """A checked request.

    Attributes:
        chat_id: the conversation; "" if the application sends none.
        trigger: ``submit-message`` or ``regenerate-message``; "" if it was not told.
        message_id: the message that was edited or is to be written again; "" for none.
        response_id: the id that the answer's message must have, for it goes on with the one that the request ends
            with (``dialect_for``); "" for a message of its own.
        response: that message, for whoever resumes the answer (``again.told_again``); None where there is none.
    """

    chat_id: str
    trigger: str
    message_id: str
    response_id: str
    response: dict[str, Any] | None


def parse_request(body: bytes) -> UiRequest:
    """Check *body* as far as the relay depends on it. The model is the member ``model`` if the application sends one,
    else "". The answer streams unless ``"stream": false`` asks for a whole message.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    fields = read_body(body, ("messages",))
    stream = "stream" not in fields or member(fields, "stream") is None or flag(fields, "stream")
    trigger = _text(fields, "trigger")
    response = None if trigger == "regenerate-message" else _unfinished(fields)
    return UiRequest(
        model=_text(fields, "model"),
        stream=stream,
        include_usage=True,
        fields=fields,
        chat_id=_text(fields, "id"),
        trigger=trigger,
        message_id=_text(fields, "messageId"),
        response_id="" if response is None else response["id"],
        response=response,
    )


def value_of(fields: dict[str, Raw], name: str) -> Any:
    """The value of a member, halves of characters made whole (JavaScript's ``slice`` leaves them); None if it is
    missing. Raises ``RequestRefused`` (400) for what is no JSON."""
    if name not in fields:
        return None
    try:
        value, torn = loads(bytes(fields[name]).decode())
        return scrub(value) if torn else value
    except (ValueError, RecursionError) as error:
        raise refused(f"{name!r} is not valid JSON: {error}", name) from error


def _text(fields: dict[str, Raw], name: str) -> str:
    value = value_of(fields, name)
    if value is None or isinstance(value, str):
        return value or ""
    raise refused(f"{name!r} must be a string", name)


def _unfinished(fields: dict[str, Raw]) -> dict[str, Any] | None:
    """The last message, if it is the assistant's and has an id."""
    messages = value_of(fields, "messages")
    last = messages[-1] if messages else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return None
    return last if isinstance(last.get("id"), str) and last["id"] else None
