"""Which stream a chat's newest answer is: what ``useChat`` asks for after a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.errors import NotResumable

if TYPE_CHECKING:
    from tokenwire.engine.hub import Hub
    from tokenwire.engine.stream import Stream

#: Chats that are remembered, the ones that were longest quiet forgotten first: 200 bytes each.
MAX_CHATS: Final = 100_000


class Chats:
    """Per caller and chat id. Only the newest stream counts: an older one's end is no news for the page."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._newest: dict[tuple[str, str], str] = {}

    def put(self, owner: str, chat: str, stream: Stream) -> None:
        """*stream* is the chat's newest answer."""
        self._newest.pop((owner, chat), None)  # to the end: the order is that of the last use
        self._newest[owner, chat] = stream.id
        if len(self._newest) > MAX_CHATS:
            del self._newest[next(iter(self._newest))]

    def running(self, owner: str, chat: str) -> Stream | None:
        """The chat's newest stream while it runs; None if that is over, or no longer known."""
        stream_id = self._newest.get((owner, chat))
        if stream_id is None:
            return None
        try:
            stream = self._hub.get(stream_id, owner)
        except NotResumable:
            del self._newest[owner, chat]
            return None
        return None if stream.terminal is not None else stream
