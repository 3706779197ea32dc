"""``RunAgentInput``: what the relay must know of it. ``prompt`` reads the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenwire.dialects.request_body import GenerateRequest, member, read_body, refused

if TYPE_CHECKING:
    from msgspec import Raw


class RunRequest(GenerateRequest, frozen=True):
    """A checked request. ``thread_id``, ``run_id``: as the client named them (``dialect_for``)."""

    thread_id: str
    run_id: str


def parse_request(body: bytes) -> RunRequest:
    """Check *body* as far as the relay depends on it. The model is ``forwardedProps.model`` if the application sends
    one, else "". AG-UI's answers are always streams.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    fields = read_body(body, ("threadId", "runId", "messages"))
    thread, run = _text(fields, "threadId"), _text(fields, "runId")
    return RunRequest(_model(fields), True, True, fields, thread, run)


def _text(fields: dict[str, Raw], name: str) -> str:
    value = member(fields, name)
    if not isinstance(value, str) or not value:
        raise refused(f"{name!r} must be a non-empty string", name)
    return value


def _model(fields: dict[str, Raw]) -> str:
    props: Any = member(fields, "forwardedProps")
    model = props.get("model") if isinstance(props, dict) else None
    if model is None or isinstance(model, str):
        return model or ""
    raise refused("'forwardedProps.model' must be a string", "forwardedProps.model")
