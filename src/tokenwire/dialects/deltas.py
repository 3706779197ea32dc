"""The vocabulary: what a model says, in one set of frozen structs that every dialect decodes to and encodes from.

A delta says what changed, never the whole. ``choice`` is the index of the alternative answer (0 unless the request
asked for several); ``block`` numbers the content blocks of a choice (a run of text, of reasoning, one tool call) in
order of first appearance, from 0. Counts are tokens; ``None`` means that the provider did not say, which is not 0.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

#: Why generation ended, normalised (reference: the vendors' own words stay beside it in ``native_reason``).
FinishReason: TypeAlias = Literal[
    "stop",
    "length",
    "tool_use",
    "content_filter",
    "refusal",
    "pause",
    "context_window",
    "error",
    "cancelled",
    "unknown",
]

#: How a stream ended. The first terminal entry of a log wins.
TerminalState: TypeAlias = Literal["completed", "failed", "cancelled", "orphaned", "expired"]


class Started(Struct, frozen=True):
    """The answer begins. Fields are None where the dialect does not say; ``role`` is always the assistant's."""

    id: str | None = None
    model: str | None = None
    created: float | None = None
    choice: int = 0


class TextDelta(Struct, frozen=True):
    text: str
    choice: int = 0
    block: int = 0


class ReasoningDelta(Struct, frozen=True):
    text: str
    choice: int = 0
    block: int = 0


class ReasoningSignature(Struct, frozen=True):
    """Opaque proof of a block, to be sent back unchanged on the next turn: of a thought, or of a call (Gemini signs
    those), by the block that it names. ``dialect``: the name of the one whose vendor made it (``signatures``)."""

    signature: str
    choice: int = 0
    block: int = 0
    dialect: str = ""


class RefusalDelta(Struct, frozen=True):
    text: str
    choice: int = 0
    block: int = 0


class ToolCallStarted(Struct, frozen=True):
    """A call begins; ``id`` is unique within the stream (made up, from a counter, where the provider gave none)."""

    id: str
    name: str
    choice: int = 0
    block: int = 0


class ToolCallDelta(Struct, frozen=True):
    """A fragment of the call's JSON arguments: any substring, meaningful only once joined."""

    json: str
    choice: int = 0
    block: int = 0


class ToolCallEnded(Struct, frozen=True):
    """The arguments are whole, as far as the provider says; a cut stream never sends this for an open call."""

    choice: int = 0
    block: int = 0


class ToolResult(Struct, frozen=True):
    """What a tool gave for the call of that block, as the model is told it. Not the model says this: whoever ran it.

    ``id`` and ``name`` are the call's; ``error``: the tool did not do what it was asked, and *content* says why.
    """

    id: str
    name: str
    content: str
    error: bool = False
    choice: int = 0
    block: int = 0


class Citation(Struct, frozen=True):
    """A source, in the provider's own object."""

    data: dict[str, Any]
    choice: int = 0
    block: int = 0


class Logprobs(Struct, frozen=True):
    """Token log-probabilities of this delta only: ``content`` and ``refusal`` entries as the provider sent them."""

    content: list[Any] | None = None
    refusal: list[Any] | None = None
    choice: int = 0


class Usage(Struct, frozen=True):
    """Cumulative token counts: a later one replaces an earlier one field by field where it is not None.

    ``input`` includes cached input and cache writes; ``output`` includes reasoning. ``raw`` is the provider's object.
    ``cost_usd`` is what that costs, where it is known; ``estimated`` that some count is not the provider's.
    """

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    raw: dict[str, Any] | None = None
    cost_usd: float | None = None
    estimated: bool = False


class Finished(Struct, frozen=True):
    """A choice ended. Usage may still follow."""

    reason: FinishReason
    native_reason: str | None = None
    choice: int = 0


class Failed(Struct, frozen=True):
    """Generation failed.

    Attributes:
        code: stable machine word, the provider's own where it gave one, else ours.
        retryable: whether the same request may succeed later.
        upstream_status: the HTTP status that the provider gave or implied, if any.
        raw: the provider's error object, if it sent one.
    """

    code: str
    message: str
    retryable: bool = False
    upstream_status: int | None = None
    raw: Any = None


class Opaque(Struct, frozen=True):
    """What the decoder does not know, kept whole: never guessed at, never dropped."""

    dialect: str
    data: Any
    event: str | None = None
    choice: int = 0


Delta: TypeAlias = (
    Started
    | TextDelta
    | ReasoningDelta
    | ReasoningSignature
    | RefusalDelta
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallEnded
    | ToolResult
    | Citation
    | Logprobs
    | Usage
    | Finished
    | Failed
    | Opaque
)

#: The kinds that count as generated: they set the time to first token (DESIGN section 7).
GENERATED = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallStarted, ToolCallDelta)


class Terminal(Struct, frozen=True):
    """The last entry of every log.

    Attributes:
        state: how it ended; the first terminal entry wins.
        reason: normalised finish reason of choice 0, if one came.
        error: what went wrong, for every state but ``completed``.
        usage: the last good usage of the provider, if it gave any.
        ttft_ms, e2e_ms: request sent to first generated event, and to the last; None without such an event.
    """

    state: TerminalState
    reason: FinishReason | None = None
    native_reason: str | None = None
    error: Failed | None = None
    usage: Usage | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None


__all__ = [
    "GENERATED", "Citation", "Delta", "Failed", "FinishReason", "Finished", "Logprobs", "Opaque", "ReasoningDelta",
    "ReasoningSignature", "RefusalDelta", "Started", "Terminal", "TerminalState", "TextDelta", "ToolCallDelta",
    "ToolCallEnded", "ToolCallStarted", "ToolResult", "Usage",
]  # fmt: skip
