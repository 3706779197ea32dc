"""What is open in a Responses stream on its way out: the part of a message, a thought, a call; each with its text."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from tokenwire.dialects.pieces import Pieces, Text

_json = msgspec.json.encode


class Place(NamedTuple):
    """Where a part of a message stands."""

    id: str
    output_index: int
    content_index: int

    def fields(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.output_index, "content_index": self.content_index}


class Part:
    """The part of a message that is being said. ``head`` and ``tail``: an event of it, around the text and before the
    number."""

    __slots__ = ("block", "event", "head", "kind", "notes", "place", "scores", "tail", "text")

    def __init__(self, kind: Literal["output_text", "refusal"], block: int, place: Place) -> None:
        self.kind = kind
        self.block = block
        self.place = place
        self.event = f"response.{kind}.delta"
        self.head = _json({"type": self.event, **place.fields()}).decode()[:-1] + ',"delta":'
        self.tail = ',"logprobs":[],"sequence_number":' if kind == "output_text" else ',"sequence_number":'
        self.text = Text()
        self.notes: Pieces[dict[str, Any]] = Pieces()
        self.scores: Pieces[Any] = Pieces()

    def said(self) -> dict[str, Any]:
        """The members of ``output_text.done``."""
        return {"text": str(self.text), "logprobs": self.scores.items()}

    def object(self) -> dict[str, Any]:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": str(self.text)}
        return {"type": "output_text", "annotations": self.notes.items(), **self.said()}

    def copy(self) -> Part:
        twin = Part(self.kind, self.block, self.place)
        twin.text, twin.notes, twin.scores = self.text.copy(), self.notes.copy(), self.scores.copy()
        return twin


class Thought:
    """The thought that is being told. ``begun``: it has words."""

    __slots__ = ("begun", "block", "id", "output_index", "signature", "text")

    def __init__(self, id: str, output_index: int, block: int) -> None:
        self.id = id
        self.output_index = output_index
        self.block = block
        self.begun = False
        self.signature: str | None = None
        self.text = Text()

    def object(self, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self.id, "type": "reasoning", "status": status, "summary": []}
        if self.begun:
            item["summary"] = [{"type": "summary_text", "text": str(self.text)}]
        if self.signature is not None:
            item["encrypted_content"] = self.signature
        return item

    def copy(self) -> Thought:
        twin = Thought(self.id, self.output_index, self.block)
        twin.begun, twin.signature, twin.text = self.begun, self.signature, self.text.copy()
        return twin


class Call:
    """A call whose arguments may not be whole."""

    __slots__ = ("call_id", "empty", "id", "name", "output_index", "text")

    def __init__(self, id: str, output_index: int, call_id: str, name: str) -> None:
        self.id = id
        self.output_index = output_index
        self.call_id = call_id
        self.name = name
        self.empty = True
        self.text = Text()

    def place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.output_index}

    def object(self, status: str) -> dict[str, Any]:
        fields = {"id": self.id, "type": "function_call", "status": status, "arguments": str(self.text)}
        return {**fields, "call_id": self.call_id, "name": self.name}

    def copy(self) -> Call:
        twin = Call(self.id, self.output_index, self.call_id, self.name)
        twin.empty, twin.text = self.empty, self.text.copy()
        return twin


#: Sources in a row: those before, and the last. Copies share it.
Chain: TypeAlias = tuple[Any, dict[str, Any]]


def unchain(chain: Chain | None) -> list[dict[str, Any]]:
    """The sources, the first first."""
    sources: list[dict[str, Any]] = []
    while chain is not None:
        chain, source = chain
        sources.append(source)
    return sources[::-1]


#: Values of a member of a part that was over.
Late: TypeAlias = tuple[Place, str, list[Any]]


def add_late(items: dict[int, dict[str, Any]], late: list[Late]) -> None:
    """Put into *items*, by number, what was said of their parts when these were over. What stands in it may
    be shared, and is not changed."""
    found: dict[Place, dict[str, list[Any]]] = {}
    for place, member, values in late:
        found.setdefault(place, {}).setdefault(member, []).extend(values)
    for place, members in found.items():
        item = items[place.output_index]
        content = list(item["content"])
        part = content[place.content_index]
        content[place.content_index] = {**part, **{name: [*part[name], *members[name]] for name in members}}
        items[place.output_index] = {**item, "content": content}
