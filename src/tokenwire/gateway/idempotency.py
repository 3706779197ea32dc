"""``Idempotency-Key``: a repeated POST attaches to the stream that the first one started (INTERFACES section 1)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.engine.stores.port import Note
from tokenwire.errors import NotResumable, RequestRefused, StoreAway, StoreFailed

if TYPE_CHECKING:
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.hub import Hub
    from tokenwire.engine.stream import Stream

KEPT_NS = 24 * 3600 * 1_000_000_000
#: Keys of one process; a day of one new key a second would be 86,400. About 300 bytes each.
MAX_KEYS = 200_000


class _Entry(NamedTuple):
    digest: bytes
    stream_id: str
    until_ns: int


#: As notes of the store: the digest of the body, until when (milliseconds since 1970), the stream's id.
KIND = "idempotency-key"
_DIGEST = hashlib.sha256().digest_size
_UNTIL = 8
_HEAD = _DIGEST + _UNTIL


class Keys:
    """Keys per caller, for 24 hours. Where there is a store it has them, too."""

    def __init__(self, clock: Clock, hub: Hub) -> None:
        self._clock = clock
        self._hub = hub
        self._entries: dict[tuple[str, str], _Entry] = {}

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._entries)

    @property
    def stored(self) -> bool:
        """Whether ``load`` may have something to wait for."""
        return self._hub.recorder is not None

    async def load(self, owner: str, key: str | None) -> None:
        """Have at hand what ``find`` needs. Raises ``StoreAway`` (503) when the store cannot be asked."""
        recorder = self._hub.recorder
        if recorder is None or not key:
            return
        entry = self._entries.get((owner, key))
        if entry is None:
            try:
                value = await recorder.store.recall(KIND, owner, key)
            except StoreFailed as error:
                raise StoreAway(error) from error
            if value is None:
                return
            left = int.from_bytes(value[_DIGEST:_HEAD], "big") / 1e3 - self._hub.wall()
            entry = _Entry(value[:_DIGEST], value[_HEAD:].decode(), self._clock.now_ns() + int(left * 1e9))
            self._entries.setdefault((owner, key), entry)
        try:
            await self._hub.find(entry.stream_id, owner)
        except NotResumable:  # `find` says what that means
            pass

    def find(self, owner: str, key: str | None, body: bytes, *, again: bool = True) -> Stream | None:
        """The stream that this key started, or None if the request is new, as one without a key always is. *again*:
        also where that stream failed before it generated anything, so that the key is free for another try.

        Raises ``RequestRefused`` (422) for the key with another body, and ``NotResumable`` (410) when its stream is no
        longer held: a second generation is never started in silence.
        """
        entry = self._entries.get((owner, key)) if key else None
        if not key or entry is None or entry.until_ns < self._clock.now_ns():
            return None
        if entry.digest != hashlib.sha256(body).digest():
            raise RequestRefused(422, "idempotency_mismatch", "this Idempotency-Key was used with another body")
        try:
            stream = self._hub.get(entry.stream_id, owner)
        except NotResumable as error:
            raise NotResumable(
                410, "stream_expired", "the stream of this Idempotency-Key is no longer kept; use a new key"
            ) from error
        if again and stream.generated_ns is None and _failed(stream):
            del self._entries[owner, key]
            self._note(owner, key, None)
            return None
        return stream

    def put(self, owner: str, key: str | None, body: bytes, stream: Stream) -> None:
        """Remember that *key*, if there is one, started *stream*."""
        if not key:
            return
        now = self._clock.now_ns()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest].until_ns >= now and len(self._entries) < MAX_KEYS:
                break
            del self._entries[oldest]
        entry = self._entries[owner, key] = _Entry(hashlib.sha256(body).digest(), stream.id, now + KEPT_NS)
        if stream.kept is not None:  # of what is not to be stored not even the key is
            until = int(self._hub.wall() * 1e3) + KEPT_NS // 1_000_000
            self._note(owner, key, entry.digest + until.to_bytes(_UNTIL, "big") + entry.stream_id.encode())

    def _note(self, owner: str, key: str, value: bytes | None) -> None:
        recorder = self._hub.recorder
        if recorder is not None:
            recorder.note(Note(KIND, owner, key, value, self._hub.wall() + KEPT_NS / 1e9))


def _failed(stream: Stream) -> bool:
    """It ended, and neither well nor because somebody stopped it, which an SDK's automatic repeat must not undo."""
    terminal = stream.terminal
    return terminal is not None and terminal.error is not None and terminal.error.code != "cancelled"
