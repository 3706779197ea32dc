"""The order of things in one answer: head, candidates at their times, the end (reference section 6.2)."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from tokenwire.simulator.exchange import Frame, Mark, Request, head
from tokenwire.simulator.vendors.common import groups
from tokenwire.simulator.vendors.gemini.errors import (
    ApiError,
    compact,
    indented,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.gemini.prompt import PromptTokens
from tokenwire.simulator.vendors.gemini.turn import Candidate, Turn

# The head comes this share of the way to the first token, as on the OpenAI side.
_HEAD_SHARE = 0.8

# How many tokens an event holds: whole sentences, mostly. Equally likely.
_GROUPS = (3, 6, 9, 12, 16, 20, 26, 32)

JSON = "application/json; charset=UTF-8"


class _Step(NamedTuple):
    """What one event adds to a candidate.

    Attributes:
        parts: None for no content.
        ends: what closes the candidate; None if it goes on.
        said, thought: tokens.
    """

    mark: Mark
    parts: list[dict[str, Any]] | None
    said: int = 0
    thought: int = 0
    delay: float = 0.0
    ends: dict[str, Any] | None = None
    hidden: bool = False


class Play:
    """One answer, on its way to become frames.

    Args:
        pace: seconds before each token.
        group: exact number of tokens in an event, None for as they come.
        array: whether the stream is one JSON array, as it is if nobody asked for events.
    """

    def __init__(
        self,
        model: str,
        turn: Turn,
        pace: Iterator[float],
        *,
        rng: random.Random,
        prompt: PromptTokens,
        group: int | None,
        array: bool,
    ) -> None:
        self.turn = turn
        self._model = model
        self._pace = pace
        self._rng = rng
        self._prompt = prompt
        self._group = group
        self._array = array
        self._id = base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("=")
        self._said = self._thought = 0
        self._made = 0  # elements or events so far

    # Words for faults

    @property
    def error(self) -> bytes:
        return self._failure(server_error())

    @property
    def overloaded(self) -> bytes:
        return self._failure(overloaded())

    @property
    def limited(self) -> bytes:
        return self._failure(rate_limited(1000))

    @property
    def reframed(self) -> bytes:
        """The error by itself, outside of the framing: what clients of Google's must expect."""
        return indented(server_error().value()) + b"\n"

    @property
    def ping(self) -> bytes:
        """Google has none; an event with nothing but the kind of traffic is what comes nearest, and is Vertex's."""
        return b"\r\n" if self._array else _event({"usageMetadata": {"trafficType": "ON_DEMAND"}})

    def _failure(self, error: ApiError) -> bytes:
        if not self._array:
            return _event(error.value())
        # The element made last is the one in whose place this comes.
        return (b",\r\n" if self._made > 1 else b"[") + indented(error.value()) + b"\n]"

    # Frames

    def whole(self, request: Request) -> Iterator[Frame]:
        """Head and body, once everything is generated; the candidates are generated side by side."""
        steps = [list(self._steps(candidate)) for candidate in self.turn.candidates]
        for step in itertools.chain.from_iterable(steps):
            self._count(step)
        candidates = [_folded(index, each) for index, each in enumerate(steps)]
        body = indented(self._response(candidates)) + b"\n"
        wait = max((sum(step.delay for step in each) for each in steps), default=0.0)
        fields = [*headers(JSON, wait), ("x-gemini-service-tier", "standard")]
        yield Frame(Mark.HEAD, head(request, 200, fields, length=len(body)), delay=wait)
        yield Frame(Mark.DATA, body, self.turn.tokens)

    def stream(self, request: Request) -> Iterator[Frame]:
        """Head, events, and the bracket that closes an array."""
        first = next(self._pace)
        lead = first * _HEAD_SHARE
        self._pace = itertools.chain([first - lead], self._pace)
        fields = headers(JSON if self._array else "text/event-stream", lead)
        yield Frame(Mark.HEAD, head(request, 200, fields, length=None), delay=lead)
        if self.turn.blocked:
            yield Frame(Mark.FINISH, self._framed(self._response([])))
        going = [self._events(index, candidate) for index, candidate in enumerate(self.turn.candidates)]
        while going:
            if len(going) > 1:
                self._rng.shuffle(going)
            for frames in going[:]:
                frame = next(frames, None)
                if frame is None:
                    going.remove(frames)
                else:
                    yield frame
        self._made += 1
        yield Frame(Mark.DONE, b"]" if self._array else b"")

    def _events(self, index: int, candidate: Candidate) -> Iterator[Frame]:
        """The frames of one candidate; what is thought in secret is counted in the event that follows it."""
        tokens, delay = 0, 0.0
        for step in self._steps(candidate):
            self._count(step)
            tokens += step.said + step.thought
            delay += step.delay
            if not step.hidden:
                data = self._framed(self._response([_candidate(index, step)]))
                yield Frame(step.mark, data, tokens, delay)
                tokens, delay = 0, 0.0

    def _steps(self, candidate: Candidate) -> Iterator[_Step]:
        for text, tokens, delay in self._groups(candidate.thoughts):
            part = {"text": text, "thought": True}
            yield _Step(Mark.TOKEN, [part], thought=tokens, delay=delay, hidden=not candidate.shown)
        ends = {"finishReason": candidate.finish, **candidate.ends}
        signature = {"thoughtSignature": candidate.signature} if candidate.signature else {}
        held: _Step | None = None
        for text, tokens, delay in self._groups(candidate.text):
            if held:
                yield held
            held = _Step(Mark.TOKEN, [{"text": text}], tokens, delay=delay)
        if held and candidate.content and not signature:
            yield held._replace(mark=Mark.FINISH, ends=ends)
            return
        if held:
            yield held
        yield from self._calls(candidate)
        closing = {"text": ""} if candidate.calls else {"text": "", **signature}
        yield _Step(Mark.FINISH, [closing] if candidate.content else None, ends=ends)

    def _calls(self, candidate: Candidate) -> Iterator[_Step]:
        """Calls come whole: the first one alone, with the only signature, later ones alone or in company."""
        parts: list[dict[str, Any]] = []
        tokens, delay = 0, 0.0
        for number, call in enumerate(candidate.calls):
            signed = {} if number else {"thoughtSignature": candidate.signature}
            parts.append({**call.part(), **signed})
            tokens += call.tokens
            delay += sum(itertools.islice(self._pace, call.tokens))
            if number and call is not candidate.calls[-1] and self._group is None and self._rng.random() < 0.5:
                continue
            yield _Step(Mark.ARGUMENTS, parts, tokens, delay=delay)
            parts, tokens, delay = [], 0, 0.0

    def _groups(self, pieces: list[str]) -> Iterator[tuple[str, int, float]]:
        return groups(pieces, self._pace, self._rng, _GROUPS, self._group)

    def _count(self, step: _Step) -> None:
        self._said += step.said
        self._thought += step.thought

    def _framed(self, value: dict[str, Any]) -> bytes:
        self._made += 1
        if self._array:
            return (b",\r\n" if self._made > 1 else b"[") + indented(value) + b"\n"
        return _event(value)

    def _response(self, candidates: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {"candidates": candidates} if candidates else {}
        if self.turn.blocked:
            found["promptFeedback"] = {"blockReason": self.turn.blocked}
        return {**found, "usageMetadata": self._usage(), "modelVersion": self._model, "responseId": self._id}

    def _usage(self) -> dict[str, Any]:
        """Cumulative; what there is none of is not mentioned."""
        prompt, found = self._prompt, self.turn.found
        usage: dict[str, Any] = {"promptTokenCount": prompt.total}
        if self._said:
            usage["candidatesTokenCount"] = self._said
        usage["totalTokenCount"] = prompt.total + self._said + self._thought + found
        if prompt.cached:
            usage["cachedContentTokenCount"] = prompt.cached
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt.total}]
        if prompt.cached:
            usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt.cached}]
        if found:
            usage["toolUsePromptTokenCount"] = found
        if self._thought:
            usage["thoughtsTokenCount"] = self._thought
        return {**usage, "serviceTier": "standard"}


def _candidate(index: int, step: _Step) -> dict[str, Any]:
    content = {} if step.parts is None else {"content": {"parts": step.parts, "role": "model"}}
    ends = dict(step.ends or {})
    finish = {"finishReason": ends.pop("finishReason")} if ends else {}
    return {**content, **finish, "index": index, **ends}


def _folded(index: int, steps: list[_Step]) -> dict[str, Any]:
    """A candidate at once: texts of a kind joined, and the signature on the text that it is about."""
    parts: list[dict[str, Any]] = []
    for part in (part for step in steps if not step.hidden for part in step.parts or ()):
        last = parts[-1] if parts else {}
        if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
            parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
        elif part != {"text": ""} or not parts:
            parts.append(part)
    return _candidate(index, _Step(Mark.DATA, parts or None, ends=steps[-1].ends))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + compact(value) + b"\r\n\r\n"


def headers(content_type: str, seconds: float) -> list[tuple[str, str]]:
    """Google's response headers (reference section 2); *seconds* until the head is what it calls its time."""
    return [
        ("content-type", content_type),
        ("vary", "Origin, X-Origin, Referer"),
        ("server", "scaffolding on HTTPServer2"),
        ("x-content-type-options", "nosniff"),
        ("server-timing", f"gfet4t7; dur={round(seconds * 1000)}"),
    ]
