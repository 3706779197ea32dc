"""A Messages event as nearly all are, read at half the cost: by a typed decoder that takes nothing else."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec


class PlainText(msgspec.Struct, gc=False, tag_field="type", tag="text_delta"):
    text: str


class PlainThinking(msgspec.Struct, gc=False, tag_field="type", tag="thinking_delta"):
    thinking: str


class PlainInput(msgspec.Struct, gc=False, tag_field="type", tag="input_json_delta"):
    partial_json: str


Plain: TypeAlias = PlainText | PlainThinking | PlainInput


class PlainEvent(msgspec.Struct, gc=False):
    """A piece of text, thought or input. Unknown members may be in it: they mean nothing."""

    type: Literal["content_block_delta"]
    index: int
    delta: Plain


#: The event of a text. Raises ValueError or RecursionError where it is no such event.
read_plain: Final = msgspec.json.Decoder(PlainEvent).decode
