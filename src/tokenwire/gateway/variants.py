"""An answer's dialect as its caller was told it: who comes back for the rest is told it in the same way.

Some dialects depend on what was asked: whether usage was wanted, what the run is called, which message it goes on with.
A cursor counts the frames of an entry, so one who was given fewer or others would lose some, or get some twice.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from tokenwire import dialects
from tokenwire.dialects.agui.dialect import dialect_for as agui
from tokenwire.dialects.ui_messages.dialect import dialect_for as ui_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.vendors import Caller

#: Where a stream keeps, by dialect, what the variant was made of: plain values, for they may have to be stored.
_TOLD: Final = "told"
_CHAT: Final = "openai.chat"


@cache
def chat(include_usage: bool) -> Dialect:
    """Chat completions with the usage chunk, or without."""
    from tokenwire.dialects.openai_chat.encode import Encoder

    plain = dialects.get(_CHAT)
    return plain if include_usage else replace(plain, encoder=partial(Encoder, include_usage=False))


_MADE: Final[dict[str, Callable[..., Dialect]]] = {_CHAT: chat, "ui-messages": ui_messages, "agui": agui}


def asked_in(stream: Stream, caller: Caller, request: GenerateRequest) -> Dialect:
    """The dialect of the answer to *request*, in the words of its caller."""
    own = stream.meta.get("spoken") == caller.dialect
    if caller.dialect == _CHAT:
        return tell(stream, _CHAT, own or request.include_usage)
    return caller.answers(request, own)


def tell(stream: Stream, name: str, *made_of: Any) -> Dialect:
    """The variant of dialect *name* that is made of these values. The first one is what readers of *stream* get who
    come back."""
    kept = stream.meta.setdefault(_TOLD, {})
    assert isinstance(kept, dict)
    if name not in kept:
        kept[name] = made_of
        if stream.hub.recorder is not None and stream.log.last:
            stream.hub.recorder.changed(stream)
    return _MADE[name](*made_of)


def told(stream: Stream, name: str) -> Dialect:
    """The dialect *name* as *stream* is told in it. Raises ``RequestRefused`` (400) for a name that there is not."""
    kept = stream.meta.get(_TOLD)
    made_of = kept.get(name) if isinstance(kept, dict) else None
    return dialects.get(name) if made_of is None else _MADE[name](*made_of)
