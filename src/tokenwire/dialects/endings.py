"""The end of a stream in words, for the dialects that say it with an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.deltas import Failed

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Finished, FinishReason, Terminal, TerminalState

_SENTENCES: Final[dict[TerminalState, str]] = {
    "completed": "the stream is complete",
    "failed": "the stream failed",
    "cancelled": "the stream was cancelled",
    "orphaned": "the server that carried the stream is gone: the answer is incomplete",
    "expired": "the stream took longer than it may: the answer is incomplete",
}


def failure_of(terminal: Terminal) -> Failed:
    """What an end other than ``completed`` means to a reader: the terminal's error, else its state in a sentence."""
    return terminal.error or Failed(terminal.state, _SENTENCES[terminal.state], retryable=terminal.state != "cancelled")


def reason_of(terminal: Terminal, told: Finished | None) -> tuple[FinishReason | None, str | None]:
    """Why the first choice ended, and the provider's word: the terminal's, else what was *told* in the stream. But the
    terminal may not know of calls, which are plain to the engine: they make a stop a tool use (Q47)."""
    if told is not None and (terminal.reason is None or told.reason == "tool_use"):
        return told.reason, terminal.native_reason or told.native_reason
    return terminal.reason, terminal.native_reason or (told.native_reason if told is not None else None)
