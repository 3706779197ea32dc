"""The simulator's own switches: ``X-Sim-…`` headers, or ``metadata`` entries of the same names in the body.

    X-Sim-Fault         see ``faults``
    X-Sim-Seed          the same request with the same seed gives the same body, byte for byte
    X-Sim-Tokens        exact length of a text answer; the text repeats if it is too short
    X-Sim-Ttft-Ms       exact time to first token, instead of the model's
    X-Sim-Interval-Ms   exact time between tokens, instead of the model's (0: all at once)
    X-Sim-Group         exact number of tokens in one event, where the vendor sends several at once (Anthropic, Gemini)
    X-Sim-Run           names a request, for faults that strike its first tries only
    X-Sim-Answer        an answer out of the ordinary, where the vendor has it: see ``ANSWERS``

Metadata exists because relays drop headers that they do not know, and pass the body on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokenwire.simulator.faults import Fault, parse_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tokenwire.simulator.latency import Profile

# An answer of a million tokens is an hour at any human pace; beyond that it is a typing error.
_MOST_TOKENS = 1_000_000


#: Answers out of the ordinary. Each vendor has those that its own API knows, and refuses the others.
ANSWERS = {
    "refusal": "stop_reason refusal (Anthropic), finishReason SAFETY (Gemini), a refusal part (Responses)",
    "blocked": "promptFeedback.blockReason instead of an answer (Gemini), cut by the content filter (Responses)",
    "malformed-call": "no content, and finishReason MALFORMED_FUNCTION_CALL (Gemini)",
    "redacted": "the thinking comes as redacted_thinking (Anthropic)",
    "search-error": "the web search fails: a web_search_tool_result_error (Anthropic)",
    "pause": "the turn pauses after the web search: stop_reason pause_turn (Anthropic)",
    "context-window": "the context window is full: stop_reason model_context_window_exceeded (Anthropic)",
}


@dataclass(frozen=True)
class Knobs:
    """The switches of one request; None where it has none."""

    fault: Fault | None = None
    seed: int | None = None
    tokens: int | None = None
    ttft_ms: float | None = None
    interval_ms: float | None = None
    group: int | None = None
    run: str | None = None
    answer: str | None = None

    def timing(self, profile: Profile) -> Profile:
        """*profile*, with what was asked for exactly in place of it."""
        if self.ttft_ms is not None:
            profile = replace(profile, first=self.ttft_ms / 1000, sigma_first=0.0)
        if self.interval_ms is not None:
            rate = 1000 / self.interval_ms if self.interval_ms else 0.0
            profile = replace(profile, rate=rate, sigma_gap=0.0)
        return profile

    def check_answer(self, known: Collection[str], path: str) -> None:
        """Raises ``ValueError`` if an answer is asked for that *path* does not have."""
        if self.answer is not None and self.answer not in known:
            raise ValueError(f"x-sim-answer: {self.answer} is no answer of {path}")


def read_knobs(headers: Mapping[str, str], metadata: Mapping[str, object]) -> Knobs:
    """The switches of a request; a header wins over an entry of *metadata*.

    Raises:
        ValueError: one has a value that makes no sense; the message names it.
    """

    def text(name: str) -> str | None:
        value = headers.get(name, metadata.get(name))
        return None if value is None else str(value)

    fault = text("x-sim-fault")
    return Knobs(
        fault=None if fault is None else parse_fault(fault),
        seed=_whole("x-sim-seed", text("x-sim-seed"), 2**63),
        tokens=_whole("x-sim-tokens", text("x-sim-tokens"), _MOST_TOKENS),
        ttft_ms=_duration("x-sim-ttft-ms", text("x-sim-ttft-ms")),
        interval_ms=_duration("x-sim-interval-ms", text("x-sim-interval-ms")),
        group=_whole("x-sim-group", text("x-sim-group"), _MOST_TOKENS),
        run=text("x-sim-run"),
        answer=_answer(text("x-sim-answer")),
    )


def _answer(text: str | None) -> str | None:
    if text is not None and text not in ANSWERS:
        raise ValueError(f"x-sim-answer is one of {', '.join(ANSWERS)}, not {text!r}")
    return text


def _whole(name: str, text: str | None, most: int) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > most:
        raise ValueError(f"{name} is a whole number from 0 to {most}, not {text!r}")
    return int(text)


def _duration(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3_600_000:  # also refuses NaN
        raise ValueError(f"{name} is a number of milliseconds up to an hour, not {text!r}")
    return value
