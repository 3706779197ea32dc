"""Tickets: a signed right to follow exactly one stream by its address alone.

A browser's EventSource can set no header, so it cannot show a key; the page that can asks for a ticket and puts it
into the address. An address ends up in histories and in proxies' logs, which is why a ticket may begin to follow within
a minute only, can do nothing but read, and reads one stream. It is never written to a log of ours.

EventSource reconnects to the address that it was given, for as long as the stream lives: a ticket that was used in time
stays good until the stream is forgotten (10 minutes after its end by default).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import math
import re
import secrets
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.engine.stores.port import Note
from tokenwire.errors import RequestRefused, StoreFailed

if TYPE_CHECKING:
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.hub import Hub
    from tokenwire.engine.recorder import Recorder
    from tokenwire.engine.stream import Stream

log = logging.getLogger(__name__)

#: How long a new ticket waits for its first use: a page uses it at once, a slow phone within seconds.
SECONDS = 60.0
#: Used tickets that a stream remembers (32 bytes each); the oldest must then be asked for anew. Each is one tab.
MOST = 256

_MAC = hashlib.sha256().digest_size
_EXPIRES = 8  # milliseconds since 1970, big-endian
_TEXT = re.compile(r"[A-Za-z0-9_-]{54,2048}")  # bounded: an address is anybody's to write
# What is signed begins with this, so that no other signature of the same key can ever be taken for a ticket.
_PURPOSE = b"tokenwire ticket 1\0"
_USED = "tickets"
# Where a store has the key.
_SECRET = ("secret", "", "tickets")


class Ticket(NamedTuple):
    """*expires*: until when it must be used for the first time, seconds since 1970."""

    text: str
    expires: float


class Tickets:
    """Issues and checks. *key* (secret bytes): by default random, so that tickets die with the process, as streams in
    memory do; processes that share streams must share the key, and their clocks must agree to the second."""

    def __init__(self, clock: Clock, key: bytes | None = None) -> None:
        self._clock = clock
        self._key = key or secrets.token_bytes(32)

    async def share(self, recorder: Recorder) -> None:
        """Use the key that the store has for whoever opens it, so that a page goes on over a restart; else it gets
        ours. Where it cannot be asked, tickets die with this process."""
        try:
            found = await recorder.store.recall(*_SECRET)
        except StoreFailed as error:
            log.warning("tickets will be good until the next restart only: %s", error)
            return
        if found is None:
            recorder.note(Note(*_SECRET, self._key, math.inf))
        else:
            self._key = found

    def issue(self, stream: Stream) -> Ticket:
        """A ticket for *stream*, in its owner's name."""
        expires = int((self._clock.wall() + SECONDS) * 1000)
        claim = expires.to_bytes(_EXPIRES, "big") + stream.owner.encode()
        text = base64.urlsafe_b64encode(self._sign(stream.id, claim) + claim).rstrip(b"=").decode()
        return Ticket(text, expires / 1000)

    async def find(self, hub: Hub, stream_id: str, text: str) -> Stream:
        """``stream``, wherever that is. Raises ``RequestRefused`` (503), too, when the store cannot be asked."""
        await hub.find(stream_id, self._claim(stream_id, text)[1][_EXPIRES:].decode())
        return self.stream(hub, stream_id, text)

    def stream(self, hub: Hub, stream_id: str, text: str) -> Stream:
        """The stream *stream_id*, if the ticket *text* is for it; from now on it is a used one.

        Raises ``RequestRefused``: 403 for what is no ticket for this stream, or came too late; 404 when the stream is
        no longer held. What the ticket says is in no message.
        """
        mac, claim = self._claim(stream_id, text)
        stream = hub.get(stream_id, claim[_EXPIRES:].decode())
        used = stream.meta.setdefault(_USED, {})
        assert isinstance(used, dict)
        if mac not in used:
            if self._clock.wall() * 1000 > int.from_bytes(claim[:_EXPIRES], "big"):
                message = f"this ticket was not used within {SECONDS:g} s; ask for a new one"
                raise RequestRefused(403, "ticket_expired", message, param="ticket")
            while len(used) >= MOST:
                del used[next(iter(used))]
            used[mac] = None
            if hub.recorder is not None:
                hub.recorder.changed(stream)
        return stream

    def _claim(self, stream_id: str, text: str) -> tuple[bytes, bytes]:
        """Signature and claim of a ticket that we have signed for this stream; raises ``RequestRefused`` (403)."""
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if _fits(text) else b""
        mac, claim = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._sign(stream_id, claim)):
            raise RequestRefused(403, "bad_ticket", "this is no ticket for this stream; ask for one", param="ticket")
        return mac, claim

    def _sign(self, stream_id: str, claim: bytes) -> bytes:
        # No stream id has a NUL in it, so id and claim cannot be shifted against each other.
        return hmac.digest(self._key, _PURPOSE + stream_id.encode("utf-8", "replace") + b"\0" + claim, "sha256")


def _fits(text: str) -> bool:
    """Whether *text* could be a ticket, and can be decoded: no length of base64 is 1 modulo 4."""
    return _TEXT.fullmatch(text) is not None and len(text) % 4 != 1
