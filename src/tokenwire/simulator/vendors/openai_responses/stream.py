"""The order of things in one response: head, items at their times, the end (reference section 4.2)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from tokenwire.simulator.exchange import Frame, Mark, Request, head
from tokenwire.simulator.latency import SNAPSHOTS
from tokenwire.simulator.vendors.json_bytes import to_json
from tokenwire.simulator.vendors.openai.stream import headers, new_request_id
from tokenwire.simulator.vendors.openai_responses.events import KEEPALIVE, EventWriter, numbered
from tokenwire.simulator.vendors.openai_responses.items import Call, Message, OutputItem, Reasoning, Search, Turn
from tokenwire.simulator.vendors.openai_responses.prompt import PromptTokens
from tokenwire.simulator.vendors.openai_responses.requests import ResponsesRequest
from tokenwire.simulator.vendors.openai_responses.words import Words

# The head and the opening events come this share of the way to the first token, as with Chat Completions.
_HEAD_SHARE = 0.8

#: A keepalive is sent when so many seconds have passed without an event.
KEEPALIVE_SECONDS = 10.0


class Play:
    """One response, on its way to become frames.

    Args:
        pace: seconds before each token.
        created: Unix time in seconds.
        keepalives: one also before every so many events, None for those in long waits only.
        finished: called once, when the last event is made.
    """

    def __init__(
        self,
        wanted: ResponsesRequest,
        turn: Turn,
        pace: Iterator[float],
        *,
        rng: random.Random,
        prompt: PromptTokens,
        created: int,
        keepalives: int | None,
        finished: Callable[[], None],
    ) -> None:
        self.turn = turn
        self._background = bool(wanted.background)
        self._keepalives = keepalives
        self._finished = finished
        self._rng = rng
        self._request_id = new_request_id(rng)
        model = SNAPSHOTS.get(wanted.model, wanted.model)
        self.writer = EventWriter(wanted, turn, model=model, rng=rng, prompt=prompt, created=created)
        self.seconds = 0.0  # from the first event to the last one made
        self.words = Words(self.writer)
        first = next(pace)
        self.lead = first * _HEAD_SHARE
        self._pace = itertools.chain([first - self.lead], pace)

    def whole(self, request: Request) -> Iterator[Frame]:
        """Head and body: once everything is generated, or at once if that happens in the background."""
        tokens = 0 if self._background else self.turn.tokens
        wait = 0.0 if self._background else self.lead + sum(itertools.islice(self._pace, tokens))
        response = self.writer.response("queued") if self._background else self.writer.final(wait)
        body = to_json(response)
        if not self._background:
            self._finished()
        yield Frame(Mark.HEAD, self._head(request, "application/json", wait, len(body)), delay=wait)
        yield Frame(Mark.DATA, body, tokens)

    def stream(self, request: Request, events: Iterator[Frame] | None = None) -> Iterator[Frame]:
        """Head and *events*; those of this play if none are given."""
        opening = self._head(request, "text/event-stream; charset=utf-8", self.lead, None)
        yield Frame(Mark.HEAD, opening, delay=self.lead)
        yield from self.events() if events is None else self.words.follow(events)

    def events(self) -> Iterator[Frame]:
        """The events with their numbers, from 0 and without a gap; keepalives have theirs as well."""
        number = 0
        for count, frame in enumerate(self._events()):
            delay = frame.delay
            self.seconds += delay
            while delay > KEEPALIVE_SECONDS:
                yield Frame(Mark.DATA, numbered(KEEPALIVE, number), delay=KEEPALIVE_SECONDS)
                delay -= KEEPALIVE_SECONDS
                number += 1
            if self._keepalives and count and count % self._keepalives == 0:  # nothing precedes response.created
                yield Frame(Mark.DATA, numbered(KEEPALIVE, number))
                number += 1
            self.words.last = number
            yield Frame(frame.mark, numbered(frame.data, number), frame.tokens, delay)
            number += 1

    def _events(self) -> Iterator[Frame]:
        writer = self.writer
        status = "queued" if self._background else "in_progress"
        yield Frame(Mark.START, writer.state("created", status))
        if self._background:
            yield Frame(Mark.DATA, writer.state("queued", status))
        yield Frame(Mark.DATA, writer.state("in_progress", "in_progress"))
        for item in self.turn.items:
            opened = isinstance(item, Call)  # its name was generated as well, which is a token here
            yield Frame(Mark.DATA, writer.open(item), int(opened), next(self._pace) if opened else 0.0)
            yield from self._inside(item)
            hidden = item.tokens if isinstance(item, Reasoning) and not item.shown else 0
            yield Frame(Mark.DATA, writer.close(item), hidden, sum(itertools.islice(self._pace, hidden)))
        self._finished()
        yield Frame(Mark.DONE, writer.end(self.seconds))

    def _inside(self, item: OutputItem) -> Iterator[Frame]:
        writer = self.writer
        if isinstance(item, Message):
            yield from self._message(item)
        elif isinstance(item, Call):
            for piece in item.pieces:
                yield Frame(Mark.ARGUMENTS, writer.delta(piece), 1, next(self._pace))
            fields = {"arguments": item.arguments, "name": item.name}
            yield Frame(Mark.DATA, writer.about("function_call_arguments.done", fields))
        elif isinstance(item, Search):
            for kind in ("in_progress", "searching", "completed"):
                yield Frame(Mark.DATA, writer.about(f"web_search_call.{kind}", {}))
        elif item.shown:
            for number, part in enumerate(item.parts):
                yield from self._summary(number, part)

    def _message(self, item: Message) -> Iterator[Frame]:
        writer = self.writer
        place = {"content_index": 0}
        yield Frame(Mark.DATA, writer.about("content_part.added", {**place, "part": item.part(empty=True)}))
        logprobs = [_without_bytes(entry) for entry in item.logprobs]
        for piece, logprob in itertools.zip_longest(item.pieces, logprobs):
            yield Frame(Mark.TOKEN, writer.delta(piece, logprob), 1, next(self._pace))
        for number, annotation in enumerate(item.annotations):
            fields = {**place, "annotation_index": number, "annotation": annotation}
            yield Frame(Mark.DATA, writer.about("output_text.annotation.added", fields))
        if item.refusal:
            yield Frame(Mark.DATA, writer.about("refusal.done", {**place, "refusal": item.text}))
        else:
            fields = {**place, "text": item.text, "logprobs": logprobs}
            yield Frame(Mark.DATA, writer.about("output_text.done", fields))
        yield Frame(Mark.DATA, writer.about("content_part.done", {**place, "part": item.part()}))

    def _summary(self, number: int, part: list[str]) -> Iterator[Frame]:
        writer = self.writer
        place = {"summary_index": number}
        text = "".join(part)

        def summary(said: str) -> dict[str, Any]:
            return {**place, "part": {"type": "summary_text", "text": said}}

        yield Frame(Mark.DATA, writer.about("reasoning_summary_part.added", summary("")))
        for piece in part:
            delta = writer.about("reasoning_summary_text.delta", {**place, "delta": piece}, padded=True)
            yield Frame(Mark.TOKEN, delta, 1, next(self._pace))
        yield Frame(Mark.DATA, writer.about("reasoning_summary_text.done", {**place, "text": text}))
        yield Frame(Mark.DATA, writer.about("reasoning_summary_part.done", summary(text)))

    def _head(self, request: Request, content_type: str, wait: float, length: int | None) -> bytes:
        return head(request, 200, headers(content_type, self._rng, wait, self._request_id), length=length)


def _without_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    """A log-probability as events have it; content parts have it whole."""
    top = [{"token": each["token"], "logprob": each["logprob"]} for each in entry["top_logprobs"]]
    return {"token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top}
