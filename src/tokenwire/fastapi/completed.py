"""What an app is told of an answer once that is over: to store it, count it, bill it."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from tokenwire.dialects.deltas import Usage
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.sealed import Away
from tokenwire.errors import NotResumable

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Failed, FinishReason, TerminalState
    from tokenwire.engine.stream import Stream

log = logging.getLogger(__name__)


class ToolCall(Struct, frozen=True, kw_only=True):
    """One call of a tool. ``arguments`` is the JSON text as it came; *whole*: its end came as well."""

    id: str
    name: str
    arguments: str
    whole: bool


class Completed(Struct, frozen=True, kw_only=True):
    """One answer, after its end.

    Attributes:
        id: the stream's.
        session, principal: the conversation, and who asked, as far as they were said.
        state: ``completed``, or how else it ended. A client that left ended it as ``cancelled``, unless the answer was
            allowed to go on (``on_disconnect``).
        reason: why the model stopped.
        text, reasoning, tool_calls: what was said, of the first choice, as far as it came.
        trimmed: the process was short of memory while it streamed, and the beginning is no longer held: there is no
            text then.
        messages: the answer as messages of OpenAI's chat, to go on with.
        usage: counts; ``usage.estimated`` says whether some are ours and not the provider's.
        cost_usd: None where no price is known.
        ttft_ms, e2e_ms: from the request to the first generated event, and to the last.
        error: what went wrong, for every state but ``completed``.
        metadata: what ``respond`` was given.
    """

    id: str
    session: str | None
    principal: str | None
    model: str
    state: TerminalState
    reason: FinishReason | None
    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    trimmed: bool
    messages: tuple[dict[str, Any], ...]
    usage: Usage
    cost_usd: float | None
    ttft_ms: float | None
    e2e_ms: float | None
    created: float
    error: Failed | None
    metadata: Any


#: Told of an answer when it is over.
OnComplete: TypeAlias = Callable[[Completed], Awaitable[None] | None]


async def completed_of(stream: Stream) -> Completed:
    """The record of *stream*, which has its terminal. Other tasks run meanwhile: a long answer takes time to fold."""
    fold = Transcript()
    trimmed = False
    try:
        try:
            for _ in stream.folding(fold):
                await asyncio.sleep(0)
        except Away:  # of a long answer, the store has the beginning: read at once, before it may be let go of again
            await stream.hub.whole(stream)
            fold = stream.transcript()
    except NotResumable:
        trimmed = True
    terminal = stream.settled
    assert terminal is not None
    said = fold.choice()
    calls = tuple(
        ToolCall(id=call.id, name=call.name, arguments=call.arguments, whole=call.ended)
        for call in said.tool_calls.values()
    )
    usage = terminal.usage or Usage()
    session = stream.meta.get("session")
    return Completed(
        id=stream.id,
        session=session if isinstance(session, str) else None,
        principal=stream.owner or None,
        model=stream.model,
        state=terminal.state,
        reason=terminal.reason,
        text=said.text,
        reasoning=said.reasoning,
        tool_calls=calls,
        trimmed=trimmed,
        messages=() if trimmed else _messages(said.text, calls),
        usage=usage,
        cost_usd=usage.cost_usd,
        ttft_ms=terminal.ttft_ms,
        e2e_ms=terminal.e2e_ms,
        created=stream.created,
        error=terminal.error,
        metadata=stream.meta.get("metadata"),
    )


async def tell(stream: Stream, on_complete: OnComplete) -> None:
    """Call *on_complete*. What it raises is logged: it is nothing to the stream."""
    try:
        completed = await completed_of(stream)
        if inspect.iscoroutinefunction(on_complete):
            await on_complete(completed)
            return
        told = await asyncio.to_thread(on_complete, completed)  # it may wait for a database
        if inspect.isawaitable(told):
            await told
    except Exception:
        log.exception("on_complete failed for the stream %s", stream.id)


def _messages(text: str, calls: tuple[ToolCall, ...]) -> tuple[dict[str, Any], ...]:
    """One message of the assistant; a call that was cut is none that could be answered."""
    whole = [call for call in calls if call.whole and _is_json(call.arguments)]
    if not text and not whole:
        return ()
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if whole:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
            for call in whole
        ]
    return (message,)


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except (ValueError, RecursionError):
        return False
    return True
