"""The clients that read one stream, each in its own way, over as many connections as it takes.

What a reader has in the end is a list of events since its last reset (``Reader.events``), or, of the real native
client, its folded answer. ``outcome`` says how it went:

    over     it has everything, and was told so
    gone     404: it was told that there is no such stream any more
    refused  another answer that trying again does not cure
    left     it went by itself
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tests.simulation.browser import Broken
from tests.simulation.world import sleep

from tokenwire import dialects
from tokenwire.client.updates import Done, Reset
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.errors import CursorLost, RelayRefused, RelayUnreachable, StreamNotFound, StreamOver
from tokenwire.wire import ndjson, sse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.simulation.browser import Browser, Download

    from tokenwire.client.following import Following
    from tokenwire.client.relay import Client
    from tokenwire.dialects.base import Dialect

Ask: TypeAlias = "Callable[[], Awaitable[Download]]"
Outcome: TypeAlias = Literal["", "over", "gone", "refused", "left"]
Begin: TypeAlias = Literal["start", "snapshot", "now"]

#: Tries without any progress after which a reader gives up, and its schedule fails.
TRIES: Final = 60
#: What only one reader is told, at the end of its connection: the stream goes on.
FAREWELLS: Final = ("reader_timeout", "store_away")


class Unordered(AssertionError):
    """An id that does not follow the one before it."""


class Seen:
    """One event as it came; *id* None where it had none of its own."""

    __slots__ = ("data", "event", "id")

    def __init__(self, event: str, data: str, id: EventId | None) -> None:
        self.event = event
        self.data = data
        self.id = id

    def __repr__(self) -> str:
        return f"{self.id or '-'} {self.event} {self.data[:60]}"


class Reader:
    """A reader of *stream* in *dialect*.

    Attributes:
        begin: what it asks for where it has no id to go on from; "post" where the stream began with it.
        events: since the last reset.
        resets: how often it was told to drop what it has.
        connections: how many it took.
        whole: its first event is the stream's first, or a snapshot of what came before.
    """

    def __init__(self, dialect: str, begin: Begin | Literal["post"]) -> None:
        self.dialect: Dialect = dialects.get(dialect)
        self.begin = begin
        self.stream = ""
        self.events: list[Seen] = []
        self.last: EventId | None = None
        self.resets = 0
        self.connections = 0
        self.outcome: Outcome = ""
        self.why = ""
        self.download: Download | None = None
        self.leaving = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dialect.name}, {self.begin})"

    @property
    def whole(self) -> bool:
        return self.begin != "now" or self.resets > 0

    @property
    def condensed(self) -> bool:
        """What it has began with a snapshot."""
        return self.begin == "snapshot" or self.resets > 0

    def leave(self) -> None:
        """Go, now or as soon as it comes to itself."""
        self.leaving = True
        if self.download is not None:
            self.download.drop()

    def _reset(self) -> None:
        self.resets += 1
        self.events = []
        self.last = None


class Follower(Reader):
    """Reads a follow route by hand: with ids where the dialect has them, else from the start again and again."""

    async def run(self, browser: Browser, stream: str, chance: Random) -> None:
        self.stream = stream
        tries = 0
        begin: str = "start" if self.begin == "post" else self.begin
        while True:
            if self.leaving:
                self.outcome = "left"
                return
            before = len(self.events), self.last
            try:
                await self._connect(browser, begin)
            except Broken as error:
                self.why = str(error)
            if self.resets:
                begin = "snapshot" if self.dialect.ids is not None else "start"
            if self.outcome:
                return
            tries = 0 if (len(self.events), self.last) != before else tries + 1
            assert tries < TRIES, f"{self} gets nowhere: {self.why}"
            await sleep(chance.random() * min(4.0, 0.1 * 2**tries))

    async def _connect(self, browser: Browser, begin: str) -> None:
        self.connections += 1
        fields: tuple[tuple[str, str], ...] = ()
        if self.last is not None:
            fields = (("last-event-id", str(self.last)),)
        elif self.events:  # no id came with what we have: all of it will come again
            self.events = []
        path = f"/v1/streams/{self.stream}/events?dialect={self.dialect.name}"
        if begin != "start":
            path += f"&from={begin}"
        self.download = download = await browser.ask("GET", path, fields=fields)
        if download.status != 200:
            body = await download.body()
            self._answered(download, body)
            return
        last_words = await self._read(download)
        if self.last is None:  # no ids: a clean end is all there is to know
            if any(code in said.data for said in last_words for code in FAREWELLS):
                raise Broken("it was told to come back")
            self.outcome = "over"

    def _answered(self, download: Download, body: bytes) -> None:
        status = download.status
        self.why = f"{status} {body.decode()}"
        if status == 204:
            self.outcome = "over"
        elif status == 404:
            self.outcome = "gone"
        elif status in (409, 410) and not (self.resets and self.last is None):
            self._reset()
        elif status < 500 or "x-tokenwire-stream" in download.fields:  # the latter: so the stream itself has failed
            self.outcome = "refused"

    async def _read(self, download: Download) -> list[Seen]:
        """Every event of one connection; those at its end that may be of it alone. Raises ``Broken``."""
        parse = Events(self.dialect, self.last)
        last_words: list[Seen] = []
        try:
            while data := await download.read():
                self.events += parse.feed(data)
                self.last = parse.last
            last_words = self.events[-1:]
        finally:
            if self.dialect.ids is not None:
                # Without an id it is not of the log (why this connection ends, say), or a prefix that is not whole.
                while self.events and self.events[-1].id is None:
                    last_words.append(self.events.pop())
        return last_words


class Events:
    """The events of one connection. An id counts for the event that it came with."""

    def __init__(self, dialect: Dialect, last: EventId | None) -> None:
        self.last = last
        self._lines = ndjson.Decoder() if dialect.framing == "ndjson" else None
        self._decoder = sse.Decoder()
        self._given: str | None = None

    def feed(self, data: bytes) -> list[Seen]:
        """Raises ``Unordered``."""
        if self._lines is not None:
            return [Seen("message", line, None) for line in self._lines.feed(data)]
        seen = [Seen(event.event, event.data, self._own(event.id)) for event in self._decoder.feed(data)]
        self._own(self._decoder.last_event_id)  # an id may stand alone
        return seen

    def _own(self, given: str | None) -> EventId | None:
        if not given or given == self._given:
            return None
        self._given = given
        found, last = parse_event_id(given), self.last
        if last is not None:
            if found[1:] == last[1:]:
                return None  # news beside the log, or the place where this connection begins
            if found[1:] < last[1:] or found.epoch < last.epoch:
                raise Unordered(f"{found} after {last}")
        self.last = found
        return found


class Native(Reader):
    """The real Python client, as an application uses it."""

    following: Following

    async def run(self, client: Client, stream: str) -> None:
        self.stream = stream
        begin: Begin = "start" if self.begin == "post" else self.begin
        while not self.outcome:
            self.following = client.follow(stream, begin=begin)
            self.connections += 1
            try:
                async with self.following as updates:
                    async for update in updates:
                        if self.leaving:
                            self.outcome = "left"
                            return
                        if isinstance(update, Reset):
                            self.resets += 1
                        elif isinstance(update, Done):
                            assert update.verified is not False, f"{self}: {update.mismatch}"
                            self.outcome = "over"
            except StreamOver:
                self.outcome = "over"
            except StreamNotFound as error:
                self.outcome, self.why = "gone", str(error)
            except CursorLost as error:
                self.why = str(error)
                if self.resets > 1 and begin == "snapshot":
                    self.outcome = "refused"
                self.resets += 1
                begin = "snapshot"
            except RelayRefused as error:
                self.outcome, self.why = "refused", str(error)
            except RelayUnreachable as error:
                raise AssertionError(f"{self} gave up: {error}") from error

    def leave(self) -> None:
        self.leaving = True


class Caller(Follower):
    """Whoever asks the vendor's own route: the bytes as they come. With ids it goes on as a follower, with a key it
    asks again; with neither there is no way back.

    Attributes:
        body: every byte of the newest answer.
        complete: that ended where HTTP says it may.
        status: of its head.
    """

    def __init__(self, dialect: Dialect, *, ids: bool, key: str | None) -> None:
        super().__init__(dialect.name, "post")
        self.dialect = dialect  # as it is asked for there: with usage or without
        self.ids = ids
        self.key = key
        self.body = bytearray()
        self.complete = False
        self.status = 0

    async def call(self, browser: Browser, download: Download, ask: Ask, chance: Random) -> None:
        """Read *download*, the answer to the first request; *ask* sends it again."""
        while True:
            self.connections += 1
            self.download = download
            self.status = download.status
            self.body.clear()
            try:
                while data := await download.read():
                    self.body += data
                self.complete = download.whole
            except Broken as error:
                self.why = str(error)
            if self.leaving:
                self.outcome = "left"
            elif self.status != 200 or (self.complete and not self.ids) or not (self.key or self.ids):
                self.outcome = "over"  # with ids it asks once more: the end may have been that of its patience
            if self.ids and self.status == 200:
                parse = Events(self.dialect, None)
                self.events = parse.feed(bytes(self.body))
                self.last = parse.last
                while self.events and self.events[-1].id is None:
                    self.events.pop()
            if self.outcome or self.ids:
                break
            download = await self._again(ask, chance)
            self.stream = download.fields.get("x-tokenwire-stream", self.stream)
        if not self.outcome:
            await self.run(browser, self.stream, chance)

    async def _again(self, ask: Ask, chance: Random) -> Download:
        for attempt in range(TRIES):
            await sleep(chance.random() * min(4.0, 0.1 * 2**attempt))
            try:
                return await ask()
            except Broken as error:
                self.why = str(error)
        raise AssertionError(f"{self} gets no answer: {self.why}")
