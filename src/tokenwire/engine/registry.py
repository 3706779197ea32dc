"""All streams of one process: opened, found, listed, forgotten. ``engine.hub`` adds what is done from time to time."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.native import encode as native
from tokenwire.engine.archive import Archive
from tokenwire.engine.heads import read_head, stream_of
from tokenwire.engine.live import Live
from tokenwire.engine.record import StreamStatistics
from tokenwire.engine.recorder import Recorder
from tokenwire.engine.retention import HubStatistics
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.engine.timers import Wheel
from tokenwire.errors import NotResumable, Overloaded, StoreAway, StoreFailed
from tokenwire.measure.estimator import Estimator
from tokenwire.measure.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.keeping import Keep
    from tokenwire.engine.retention import Retention
    from tokenwire.engine.stores.port import Store
    from tokenwire.measure.tokenizers import Tokenizer

#: Of an id that ``_new_id`` makes.
_ID_LENGTH: Final = 3 + 22
#: How often all of a stream is asked for.
_TRIES: Final = 4
#: Streams that are listed at a time.
LISTED: Final = 1000
#: Of these, how many are looked at in one turn of the loop.
PORTION: Final = 16

_NOT_YET: Final = "the store cannot delete it now; ask again until it is gone (the relay also does, while it runs)"

log = logging.getLogger(__name__)


class Registry:
    """The streams that are in memory, and what the store has of the others. Plain calls in the loop's thread, but for
    what says ``async``: that may read from the store.

    Attributes:
        recorder, archive: what writes to the store and what reads from it; None: memory is all there is.
        errands: what is being read for somebody who cannot wait for it.
        estimator: what is known of the models' tokens; every answer that is counted adds to it.
        tokenizers: by upstream, what counts its models' tokens exactly; called in a thread, one text at a time.
        live: who is told of the usage while it grows.
        worker: the thread for what must not keep the loop.
    """

    def __init__(self, clock: Clock, retention: Retention, estimator: Estimator) -> None:
        self.clock = clock
        self.retention = retention
        self.wheel = Wheel(clock)
        self.estimator = estimator
        self.tokenizers: dict[str, Tokenizer] = {}
        self.live = Live(clock, self.wheel)
        self.worker = Worker()
        self.recorder: Recorder | None = None
        self.archive: Archive | None = None
        self.errands: set[asyncio.Task[None]] = set()
        self._policy = Policy()
        self._wall = clock.wall() - clock.now_ns() / 1e9
        self._streams: dict[str, Stream] = {}
        self._running: dict[str, Stream] = {}
        self._ended: dict[str, Stream] = {}  # in order of ending, or of coming back
        self._names: list[bytes] = []
        self._opened = 0
        self._evicted = 0
        self._refused = 0
        self._ends: dict[str, int] = {}
        self._bytes = 0
        self._ended_bytes = 0  # what the ended ones hold: they can be many, and change only here
        self._ended_entries = 0  # of all that ever ended
        self._warm: dict[str, Stream] = {}  # those of the ended that have entries again that were away

    def wall(self) -> float:
        """Seconds since 1970, by the clock on the wall as it was when we began: what is to be kept for an hour must not
        go because somebody sets that clock."""
        return self._wall + self.clock.now_ns() / 1e9

    def keep_in(self, store: Store, keep: Keep, policy: Policy) -> None:
        """Store every stream that begins from now on in *store*, which is open. *policy*: of those found there."""
        self._policy = policy
        self.recorder = Recorder(self, store, keep)
        self.archive = Archive(self, store, policy)

    # ------------------------------------------------------------------ streams

    def open(
        self,
        *,
        owner: str,
        dialect: Dialect,
        model: str,
        policy: Policy,
        hide_usage: bool = False,
        stored: bool = True,
    ) -> Stream:
        """A new stream in state ``queued``; *stored*: in the store as well, if there is one.

        Raises ``Overloaded`` when a bound of the process is reached.
        """
        recorder = self.recorder
        if (refusal := self._no_room()) is not None:
            self._refused += 1
            raise Overloaded(refusal)
        stream = Stream(self, self._new_id(), owner=owner, dialect=dialect, model=model, policy=policy, hide=hide_usage)
        self._streams[stream.id] = self._running[stream.id] = stream
        self._opened += 1
        if recorder is not None and stored:
            recorder.opened(stream)
        return stream

    def _no_room(self) -> str | None:
        """Why no other stream can begin, if that is so."""
        running = len(self._running)
        if running >= self.retention.max_streams:
            return f"{running} streams are running, the most that this process takes"
        if self._bytes > self.retention.max_bytes and not self._evict(self.retention.max_bytes):
            return "the running streams hold all the memory that this process may use for them"
        if self.recorder is not None and self.recorder.full:
            return "the store is away, and as much waits to be stored as may"
        return None

    def get(self, stream_id: str, owner: str) -> Stream:
        """The caller's stream, if it is in memory. Raises ``NotResumable`` (404), the same for a stranger's stream as
        for none."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.owner != owner:
            raise NotResumable(404, "stream_not_found", f"no stream {stream_id[:64]!r}")
        return stream

    async def find(self, stream_id: str, owner: str) -> Stream:
        """The caller's stream, wherever it is; it is in memory then.

        Raises as ``get`` does, and ``StoreAway`` or ``Overloaded`` (503) when the store cannot be asked, or has too
        much to do.
        """
        if self.archive is not None and stream_id not in self._streams and len(stream_id) == _ID_LENGTH:
            try:
                found = await self.archive.find(stream_id)
            except StoreFailed as error:
                raise StoreAway(error) from error
            if found is not None and found.owner == owner:
                return found  # memory may have let go of it before it was our turn
        return self.get(stream_id, owner)

    async def whole(self, stream: Stream) -> None:
        """Everything that is held of *stream* can be read at once. Raises as ``find`` does; ``NotResumable`` (410) for
        what is held no longer."""
        archive = self.archive
        if archive is None:
            return
        try:
            for _ in range(_TRIES):  # what came may have been let go of again before it was our turn
                if stream.log.present:
                    return
                await archive.bring(stream, whole=True)
            if not stream.log.present:
                raise StoreFailed(f"not all of stream {stream.id} is there")
        except StoreFailed as error:
            raise StoreAway(error) from error

    def resident(self, stream_id: str) -> Stream | None:
        """A stream that is in memory."""
        return self._streams.get(stream_id)

    def mine(self, owner: str) -> Iterator[Stream]:
        """The caller's streams that are in memory, oldest first."""
        return (stream for stream in self._streams.values() if stream.owner == owner)

    async def listed(self, owner: str) -> list[Stream]:
        """The caller's newest streams, oldest first: also those in the store, for a look (their entries are not here).

        Raises as ``find`` does.
        """
        found = {stream.id: stream for stream in self.mine(owner)}
        if self.recorder is not None:
            try:
                heads = await self.recorder.store.heads(owner, LISTED)
            except StoreFailed as error:
                raise StoreAway(error) from error
            for number, head in enumerate(heads, 1):
                if number % PORTION == 0:  # each takes up to 0.1 ms, and no token waits for a thousand of them
                    await asyncio.sleep(0)
                if not (head.stream in found or head.running or head.stream in self.recorder.gone):
                    try:
                        found[head.stream] = stream_of(self, head, read_head(head.data), self._policy)
                    except StoreFailed as error:  # the others can be listed
                        log.warning("stream %s is not listed: %s", head.stream, error)
        return sorted(found.values(), key=lambda stream: stream.created)[-LISTED:]

    def running(self) -> list[Stream]:
        return list(self._running.values())

    def kept(self) -> Iterator[Stream]:
        """Those in memory of which the store may lack something."""
        recorder = self.recorder
        assert recorder is not None
        yield from self._running.values()
        yield from (stream for stream in self._ended.values() if not recorder.safe(stream))

    def notice(self, code: str, **fields: Any) -> None:
        """Tell it to everyone who reads a running stream in the native dialect, the only one with a word for it. Who is
        behind is not told: news do not wait."""
        frame = native.notice(code, **fields)
        for stream in self.running():
            for view in stream.views:
                if view.dialect.name == native.NAME:
                    view.tell(frame)

    # ------------------------------------------------------------------ what happens to them

    def adopt(self, stream: Stream) -> None:
        """*stream* was found in the store, and is in memory from now on."""
        self._streams[stream.id] = stream
        self._bytes += stream.log.size
        if stream.terminal is None:
            self._running[stream.id] = stream
            return
        stream.rests_ns = self.clock.now_ns()
        self._ended[stream.id] = stream
        self._ended_bytes += stream.log.size
        self._ended_entries += stream.log.last

    def resized(self, stream: Stream, by: int) -> None:
        """*stream* takes *by* bytes more (or less) than it did."""
        self._bytes += by
        if stream.id in self._ended:
            self._ended_bytes += by
            if by > 0:
                self._warm[stream.id] = stream

    def pack(self, stream: Stream) -> None:
        """Pack a stream's frames now."""
        self.resized(stream, -stream.log.pack())

    def ended(self, stream: Stream) -> None:
        """Called by a stream at its terminal."""
        state = stream.state.value
        self._ends[state] = self._ends.get(state, 0) + 1
        if self._running.pop(stream.id, None) is not None:
            stream.rests_ns = self.clock.now_ns()
            self._ended[stream.id] = stream
            self._ended_bytes += stream.log.size
            self._ended_entries += stream.log.last
            if self.recorder is not None:
                self.recorder.urgent(stream)

    async def delete(self, stream: Stream) -> None:
        """Drop a stream for good; a running one is cancelled first. Readers that are behind still get its end. Its
        bytes are gone when this returns, also from the store.

        Raises ``StoreAway`` (503) if the store cannot do it now. Nobody is shown the stream any more then, and it
        is deleted when the store is back.
        """
        self.forget(stream)
        if self.recorder is not None and stream.kept is not None:
            if self.archive is not None:
                self.archive.deleted(stream.id)
            try:
                await self.recorder.delete(stream)
            except StoreFailed as error:
                raise StoreAway(error, _NOT_YET) from error

    async def delete_again(self, stream_id: str, owner: str) -> bool:
        """Whether that stream was the caller's, was deleted, and was still in the store: then it is gone now.

        Raises ``StoreAway`` (503) if the store still cannot do it.
        """
        recorder = self.recorder
        if recorder is None or recorder.gone.get(stream_id) != owner:
            return False
        try:
            await recorder.delete_again(stream_id)
        except StoreFailed as error:
            raise StoreAway(error, _NOT_YET) from error
        return True

    def forget(self, stream: Stream) -> None:
        """Drop a stream from memory; a running one is cancelled first. Readers that are behind still get its end."""
        stream.cancel("deleted")
        if self.recorder is not None:
            self.recorder.forgotten(stream)
        if stream.id in self._streams:
            self._drop(stream)

    def _evict(self, bound: int) -> bool:
        """Forget ended streams that nobody reads and that are stored, if they are to be, oldest first, until *bound*
        holds."""
        for stream in list(self._ended.values()):
            if self._bytes <= bound:
                break
            self._rest(stream)
        return self._bytes <= bound

    def _rest(self, stream: Stream) -> None:
        """Forget *stream*, which is over, unless somebody reads it or the store lacks something of it."""
        if not stream.readers and (self.recorder is None or self.recorder.safe(stream)):
            self._drop(stream)
            self._evicted += 1

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream.id]
        stream.views = []  # they refer to it: a circle that only the garbage collector would find
        self._running.pop(stream.id, None)  # deleted from within its own end
        self._bytes -= stream.log.size
        if self._ended.pop(stream.id, None) is not None:
            self._ended_bytes -= stream.log.size
            self._warm.pop(stream.id, None)
        if self.archive is not None:
            self.archive.forgotten(stream)

    def _new_id(self) -> str:
        """128 random bits. Asked for 256 names at once: one call to the kernel costs as much as ``open``."""
        if not self._names:
            noise = secrets.token_bytes(16 * 256)
            self._names = [noise[at : at + 16] for at in range(0, len(noise), 16)]
        return "st_" + base64.urlsafe_b64encode(self._names.pop())[:22].decode()

    # ------------------------------------------------------------------ figures

    def statistics(self) -> HubStatistics:
        """Frozen figures of this moment."""
        streams = list(self._streams.values())
        return HubStatistics(
            len(streams),
            len(self._running),
            sum(len(stream.readers) for stream in streams),
            sum(stream.log.size for stream in streams),
            self._opened,
            self._ends.get("completed", 0),
            self._ends.get("failed", 0),
            self._ends.get("cancelled", 0),
            self._evicted,
            self._refused,
        )

    def stream_statistics(self) -> list[StreamStatistics]:
        return [stream.statistics() for stream in self._streams.values()]
