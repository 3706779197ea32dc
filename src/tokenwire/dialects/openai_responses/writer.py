"""The output items of a Responses stream on their way out: numbered, told in events, and kept for the end.

Everything is said three times over here (deltas, parts, items), and all of it once more in the last event, so the
texts must be kept. An item ends where something of another kind begins; a call ends when it is whole, whatever has
begun since. Nothing is numbered by what may come early or late (arguments, sources, log-probabilities): a reader who
joins is told these in another order.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.openai_responses.writer_parts import Call, Chain, Late, Part, Place, Thought, add_late, unchain
from tokenwire.dialects.pieces import Pieces
from tokenwire.errors import LocalProtocolError

Status: TypeAlias = Literal["completed", "incomplete"]

_json: Final = msgspec.json.encode


class Writer:
    """Items -> events.

    Args:
        stream: our stream id; the ids of items are made of it, and of their numbers.

    Attributes:
        number: the sequence number of the next event.
        called: the blocks of all calls.
        refused: whether a refusal was said.
    """

    __slots__ = (
        "_calls", "_closed", "_content", "_late", "_late_here", "_message", "_newest", "_next", "_noted", "_own",
        "_part", "_places", "_stream", "_thought", "_unplaced", "_unscored", "called", "number", "refused",
    )  # fmt: skip

    def __init__(self, stream: str) -> None:
        self._stream = stream.removeprefix("st_")
        self._next = 0
        self._message: Place | None = None  # the one that is open; `part` is not used
        self._content: list[dict[str, Any]] = []  # its parts that are over
        self._part: Part | None = None  # the one that is not
        self._thought: Thought | None = None
        self._calls: dict[int, Call] = {}  # those that are not whole, by block
        self._own: set[int] = set()  # the blocks of those that no copy shares
        self._closed: Pieces[tuple[int, dict[str, Any]]] = Pieces()
        self._late: Pieces[Late] = Pieces()  # what was said of items that were over
        self._late_here: Pieces[Late] = Pieces()  # and of parts of the open message that were
        self._places: dict[int, Place] = {}  # of texts, by block: the first
        self._noted: dict[Place, int] = {}
        self._newest: Place | None = None
        self._unplaced: dict[int, Chain] = {}  # sources of texts that have not begun
        self._unscored: Pieces[list[Any]] = Pieces()
        self.called: set[int] = set()
        self.refused = False
        self.number = 0

    @property
    def open(self) -> bool:
        """Whether a call is not whole."""
        return bool(self._calls)

    def copy(self) -> Writer:
        twin = Writer(self._stream)
        twin._next, twin._message, twin._content = self._next, self._message, list(self._content)
        twin._part = None if self._part is None else self._part.copy()
        twin._thought = None if self._thought is None else self._thought.copy()
        twin._calls = dict(self._calls)
        self._own.clear()
        twin._closed, twin._late, twin._late_here = self._closed.copy(), self._late.copy(), self._late_here.copy()
        twin._places, twin._noted, twin._newest = dict(self._places), dict(self._noted), self._newest
        twin._unplaced = dict(self._unplaced)
        twin._unscored = self._unscored.copy()
        twin.called, twin.refused, twin.number = set(self.called), self.refused, self.number
        return twin

    def event(self, kind: str, fields: dict[str, Any]) -> Frame:
        """An event with the next number, which stands last in it."""
        frame = Frame(kind, _json({"type": kind, **fields, "sequence_number": self.number}).decode())
        self.number += 1
        return frame

    # ------------------------------------------------------------------ texts

    def say(self, kind: Literal["output_text", "refusal"], block: int, text: str) -> list[Frame]:
        """A piece of a text or of a refusal."""
        part = self._part
        frames: list[Frame] = []
        if part is None or part.block != block or part.kind != kind:
            frames = self._begin_part(kind, block)
            part = self._part
            assert part is not None
        part.text.append(text)
        frames.append(Frame(part.event, f"{part.head}{_json(text).decode()}{part.tail}{self.number}}}"))
        self.number += 1
        return frames

    def cite(self, block: int, source: dict[str, Any]) -> list[Frame]:
        """A source of the text of that block, of its first part where it was interrupted. If it has not begun, the
        source waits for it, or for the end."""
        place = self._places.get(block)
        if place is None:
            self._unplaced[block] = (self._unplaced.get(block), source)
            return []
        return [self._note(place, source)]

    def score(self, entries: list[Any]) -> list[Frame]:
        """Log-probabilities of the newest text: they come behind its pieces, with an empty one."""
        place = self._newest
        if place is None:
            self._unscored.append(entries)
            return []
        part = self._part
        if part is not None and part.place == place:
            part.scores.extend(entries)
        else:
            self._add_late(place, "logprobs", entries)
        return [self.event("response.output_text.delta", {**place.fields(), "delta": "", "logprobs": entries})]

    def settle(self) -> list[Frame]:
        """What still waits for a text: it belongs to the newest, or to one without words."""
        frames: list[Frame] = []
        if not self._unplaced:
            return frames
        if self._newest is None:
            frames += self._begin_part("output_text", next(iter(self._unplaced)))
        assert self._newest is not None
        for sources in self._unplaced.values():
            frames += [self._note(self._newest, source) for source in unchain(sources)]
        self._unplaced = {}
        return frames

    def refuse(self) -> list[Frame]:
        """A refusal without words, for a provider that gave none."""
        return [] if self.refused else self._begin_part("refusal", -1)

    def _begin_part(self, kind: Literal["output_text", "refusal"], block: int) -> list[Frame]:
        frames = self._end_part() if self._message is not None else self.close()
        message = self._message
        if message is None:
            self._content = []
            message = self._message = Place(*self._take("msg_"), 0)
            item = {"id": message.id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
            frames.append(self._added(message.output_index, item))
        place = Place(message.id, message.output_index, len(self._content))
        part = self._part = Part(kind, block, place)
        frames.append(self.event("response.content_part.added", {**place.fields(), "part": part.object()}))
        if kind == "refusal":
            self.refused = True
            return frames
        self._newest = place
        self._places.setdefault(block, place)
        frames += [self._note(place, source) for source in unchain(self._unplaced.pop(block, None))]
        unscored, self._unscored = self._unscored, Pieces()
        for entries in unscored.items():
            frames += self.score(entries)
        return frames

    def _end_part(self) -> list[Frame]:
        part, self._part = self._part, None
        assert part is not None
        whole = part.object()
        self._content.append(whole)
        place = part.place.fields()
        said = {"refusal": whole["refusal"]} if part.kind == "refusal" else part.said()
        return [
            self.event(part.event.replace(".delta", ".done"), {**place, **said}),
            self.event("response.content_part.done", {**place, "part": whole}),
        ]

    def _note(self, place: Place, source: dict[str, Any]) -> Frame:
        index = self._noted.get(place, 0)
        self._noted[place] = index + 1
        part = self._part
        if part is not None and part.place == place:
            part.notes.append(source)
        else:
            self._add_late(place, "annotations", [source])
        fields = {**place.fields(), "annotation_index": index, "annotation": source}
        return self.event("response.output_text.annotation.added", fields)

    # ------------------------------------------------------------------ thoughts

    def think(self, block: int, text: str) -> list[Frame]:
        """A piece of a thought. It is told as a summary: that is what clients show, whoever thought it."""
        thought = self._thought
        frames: list[Frame] = []
        if thought is None or thought.block != block:
            frames, thought = self._begin_thought(block)
        place = {"item_id": thought.id, "output_index": thought.output_index, "summary_index": 0}
        if not thought.begun:
            thought.begun = True
            part = {"type": "summary_text", "text": ""}
            frames.append(self.event("response.reasoning_summary_part.added", {**place, "part": part}))
        thought.text.append(text)
        frames.append(self.event("response.reasoning_summary_text.delta", {**place, "delta": text}))
        return frames

    def sign(self, block: int, signature: str) -> list[Frame]:
        """The proof of the thought of that block. Where its item is over, or has one, it has an item of its own."""
        thought = self._thought
        frames: list[Frame] = []
        if thought is None or thought.block != block or thought.signature is not None:
            frames, thought = self._begin_thought(block)
        thought.signature = signature
        return frames

    def _begin_thought(self, block: int) -> tuple[list[Frame], Thought]:
        frames = self.close()
        thought = self._thought = Thought(*self._take("rs_"), block)
        frames.append(self._added(thought.output_index, {"id": thought.id, "type": "reasoning", "summary": []}))
        return frames, thought

    # ------------------------------------------------------------------ calls

    def call(self, block: int, call_id: str, name: str) -> list[Frame]:
        frames = self.close()
        call = self._calls[block] = Call(*self._take("fc_"), call_id, name)
        self.called.add(block)
        self._own.add(block)
        return [*frames, self._added(call.output_index, call.object("in_progress"))]

    def arguments(self, block: int, json: str) -> list[Frame]:
        """A fragment of a call's arguments; nothing if the call is over.

        Raises:
            LocalProtocolError: the call never began.
        """
        call = self._calls.get(block)
        if call is None:
            return self._over(block)
        if block not in self._own:
            call = self._calls[block] = call.copy()
            self._own.add(block)
        call.text.append(json)
        call.empty = call.empty and not json
        return [self.event("response.function_call_arguments.delta", {**call.place(), "delta": json})]

    def end_call(self, block: int) -> list[Frame]:
        """The call is whole. One without arguments has an empty object: other dialects end it without any.

        Raises:
            LocalProtocolError: the call never began.
        """
        call = self._calls.get(block)
        if call is None:
            return self._over(block)
        frames = self.arguments(block, "{}") if call.empty else []
        call = self._calls.pop(block)
        item = call.object("completed")
        done = {**call.place(), "arguments": item["arguments"], "name": call.name}
        frames.append(self.event("response.function_call_arguments.done", done))
        return [*frames, self._done(call.output_index, item)]

    def _over(self, block: int) -> list[Frame]:
        if block not in self.called:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return []

    # ------------------------------------------------------------------ items

    def close(self, status: Status = "completed") -> list[Frame]:
        """The message or the thought that is open is over. Calls are not: only ``end_call`` says that of one."""
        if self._message is not None:
            frames = self._end_part()
            message, self._message = self._message, None
            item = self._message_object(message, status)
            self._late_here = Pieces()
            return [*frames, self._done(message.output_index, item)]
        if (thought := self._thought) is not None:
            self._thought = None
            item = thought.object(status)
            frames = []
            if thought.begun:
                place = {"item_id": thought.id, "output_index": thought.output_index, "summary_index": 0}
                part = item["summary"][0]
                text = {**place, "text": part["text"]}
                frames.append(self.event("response.reasoning_summary_text.done", text))
                frames.append(self.event("response.reasoning_summary_part.done", {**place, "part": part}))
            return [*frames, self._done(thought.output_index, item)]
        return []

    def output(self) -> list[dict[str, Any]]:
        """All items, in order. What is open is incomplete."""
        items = dict(self._closed.items())
        for call in self._calls.values():
            items[call.output_index] = call.object("incomplete")
        if self._message is not None:
            items[self._message.output_index] = self._message_object(self._message, "incomplete")
        if self._thought is not None:
            items[self._thought.output_index] = self._thought.object("incomplete")
        add_late(items, self._late.items())
        return [items[index] for index in sorted(items)]

    def _message_object(self, message: Place, status: Status) -> dict[str, Any]:
        content = [*self._content, *([] if self._part is None else [self._part.object()])]
        item = {"id": message.id, "type": "message", "status": status, "content": content, "role": "assistant"}
        whole = {message.output_index: item}
        add_late(whole, self._late_here.items())
        return whole[message.output_index]

    def _add_late(self, place: Place, member: str, values: list[Any]) -> None:
        message = self._message
        here = message is not None and message.output_index == place.output_index
        (self._late_here if here else self._late).append((place, member, values))

    def _take(self, kind: str) -> tuple[str, int]:
        """Id and place of a new item."""
        index = self._next
        self._next += 1
        return f"{kind}{self._stream}{index:04x}", index

    def _added(self, index: int, item: dict[str, Any]) -> Frame:
        return self.event("response.output_item.added", {"output_index": index, "item": item})

    def _done(self, index: int, item: dict[str, Any]) -> Frame:
        self._closed.append((index, item))
        return self.event("response.output_item.done", {"output_index": index, "item": item})
