"""A call of a tool on its way to a UI message: the parts that tell its arguments, and its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.pieces import Text
from tokenwire.dialects.ui_messages.words import NOT_JSON, input_of, output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import ToolResult


class Call:
    """A call; ``json`` is None once its arguments are whole. ``answered``: its result is told."""

    __slots__ = ("answered", "id", "json", "name")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.json: Text | None = Text()
        self.answered = False

    def copy(self) -> Call:
        if self.answered and self.json is None:
            return self  # changes no more
        twin = Call(self.id, self.name)
        twin.json = None if self.json is None else self.json.copy()
        twin.answered = self.answered
        return twin

    def add(self, json: str) -> Iterator[dict[str, Any]]:
        """A fragment of its arguments."""
        if json and self.json is not None:
            self.json.append(json)
            yield {"type": "tool-input-delta", "toolCallId": self.id, "inputTextDelta": json}

    def end(self, version: int) -> Iterator[dict[str, Any]]:
        """Its arguments are whole. ``tool-input-available`` makes the client run the tool: only for those that can be
        read."""
        if self.json is None:
            return
        arguments, self.json = str(self.json), None
        input_ = input_of(arguments)
        named = {"toolCallId": self.id, "toolName": self.name}
        if input_ is not None:
            yield {"type": "tool-input-available", **named, "input": msgspec.Raw(input_.encode())}
        elif version > 5:
            yield {"type": "tool-input-error", **named, "input": arguments, "errorText": NOT_JSON}
        else:  # version 5.0 has no such part, but takes the result of a call whose input never came
            yield {"type": "tool-output-error", "toolCallId": self.id, "errorText": NOT_JSON}

    def result(self, told: ToolResult) -> dict[str, Any]:
        """What the tool gave; the call is settled by that, even if nobody could read its arguments."""
        self.answered = True
        if told.error:
            return {"type": "tool-output-error", "toolCallId": self.id, "errorText": told.content}
        output = msgspec.Raw(output_of(told.content).encode())
        return {"type": "tool-output-available", "toolCallId": self.id, "output": output}
