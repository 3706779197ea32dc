"""What an app's own generator yields -> deltas: text, our vocabulary, and what the usual libraries stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire import dialects
from tokenwire.client import updates
from tokenwire.errors import LocalProtocolError
from tokenwire.fastapi.blocks import Blocks, is_delta
from tokenwire.fastapi.langchain import Messages, message_of
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from tokenwire.dialects.base import Decoder
    from tokenwire.dialects.deltas import Delta

#: What happens to a stream that is followed, and is no part of the answer. (Its failure comes as ``Failed``.)
_NEWS: Final = (updates.Notice, updates.Dropped, updates.Resumed, updates.Done)


class Items:
    """Reads what one generator yields, in order; ``end`` once it is through."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._messages = Messages(self._blocks)
        self._chunks: Decoder | None = None

    def read(self, item: Any) -> list[Delta]:
        """Raises ``LocalProtocolError`` for what cannot be told, and what a broken object of a library raises."""
        if isinstance(item, str):
            return self._blocks.text(item)
        if is_delta(item):
            return self._blocks.take(item)
        if isinstance(item, _NEWS):
            return []
        if isinstance(item, updates.Reset):
            raise LocalProtocolError("what the source said so far is void, and has been passed on")
        chunk = _chunk(item)
        if chunk is not None:
            return self._chunk(chunk)
        try:
            message = message_of(item)
        except TypeError:
            raise LocalProtocolError(
                f"a source yields str, tokenwire's deltas, chunks of OpenAI's chat or messages of LangChain, "
                f"not {type(item).__name__}"
            ) from None
        return [] if message is None else self._messages.read(message)

    def end(self) -> list[Delta]:
        """The generator is through."""
        said: list[Delta] = []
        if self._chunks is not None:
            said += self._decoded(b"[DONE]")
        if self._blocks.finished is None:
            said += self._messages.end()
        return said + self._blocks.end()

    def _chunk(self, data: bytes) -> list[Delta]:
        if self._chunks is None:
            self._chunks = dialects.get("openai.chat").decoder()
        return self._decoded(data)

    def _decoded(self, data: bytes) -> list[Delta]:
        assert self._chunks is not None
        told = self._chunks.feed(Event("message", data.decode(), "", None))
        return [delta for each in told for delta in self._blocks.take(each)]


def _chunk(item: Any) -> bytes | None:
    """An OpenAI chat chunk, as a mapping or as an object of its SDK (LiteLLM's are like it), as JSON."""
    if isinstance(item, Mapping):
        return msgspec.json.encode(item) if "choices" in item else None
    if isinstance(getattr(item, "choices", None), list) and hasattr(item, "model_dump_json"):
        return str(item.model_dump_json(exclude_none=True)).encode()
    return None
