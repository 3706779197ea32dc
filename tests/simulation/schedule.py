"""One schedule: a seed becomes streams, readers and everything that can go wrong, is played, and is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec
from tests.simulation import checks
from tests.simulation.answers import SPOKEN, Script, script
from tests.simulation.browser import URL, Broken, Browser, Download
from tests.simulation.disk import Disk, Mood
from tests.simulation.network import Network
from tests.simulation.provider import PORT as PROVIDER
from tests.simulation.provider import Connection, Provider
from tests.simulation.readers import TRIES, Begin, Caller, Follower, Native, Reader
from tests.simulation.relay import PORT, Machine, Relay, settings
from tests.simulation.world import Process, SimulatedClock, World, sleep

from tokenwire.client.backoff import Retry
from tokenwire.client.relay import Client
from tokenwire.errors import RelayRefused, RelayUnreachable
from tokenwire.gateway.vendors import VENDORS

#: What followers ask for, and how often.
FOLLOWED: Final = (
    "native", "native", "native", "ui-messages", "ui-messages", "agui", "openai.chat", "openai.chat", "anthropic",
    "openai.responses", "gemini", "ollama",
)  # fmt: skip
#: And from where.
BEGINNINGS: Final[tuple[Begin, ...]] = ("start", "start", "snapshot", "now")
#: Where each dialect is asked for: path, and the body for a model.
ROUTES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "openai.chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
    "openai.responses": ("/v1/responses", {"input": "hi", "stream": True}),
    "anthropic": (
        "/v1/messages",
        {"messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 99},
    ),
    "gemini": (
        "/v1beta/models/{}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    ),
    "ollama": ("/ollama/api/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
}
#: After so many seconds nothing goes wrong any more.
TROUBLE: Final = 12.0
#: By then every reader must have come to an end.
LIMIT: Final = 400.0


class Begun:
    """One model's answers: a stream, or several where one was asked for anew.

    Attributes:
        id: "" until somebody was told.
        known: the same, for who waits for it.
    """

    def __init__(self, model: str, plan: Script) -> None:
        self.model = model
        self.plan = plan
        self.id = ""
        self.readers: list[Reader] = []
        self.known: asyncio.Future[str]


class Schedule:
    """*seed*: of everything. ``run`` plays it and raises ``AssertionError`` for what should not be.

    Attributes:
        actions: what was done, in words, with the time.
    """

    def __init__(self, seed: int, machine: Machine) -> None:
        self.seed = seed
        self.machine = machine
        self.world = World(seed)
        self.chance = self.world.random
        self.actions: list[str] = []
        machine.host(self.world, seed)
        self.network = Network(self.world)
        disk = Disk(self.world) if self.chance.random() < 0.75 else None
        self.settings = settings(self.chance, stored=disk is not None)
        self.relay = Relay(self.world, self.settings, disk)
        self.deleted: set[str] = set()
        self.people = Process(self.world, "people")
        self.streams = [self._planned(index) for index in range(self.chance.choice((1, 1, 1, 2, 3)))]
        self.provider = Provider(self.world, {each.model: each.plan for each in self.streams})
        self.browser: Browser
        self.client: Client
        self._playing: list[asyncio.Task[None]] = []
        self._busy = 0  # of them, that are not done

    def _planned(self, index: int) -> Begun:
        return Begun(f"s{index}", script(self.chance, self.chance.choice(SPOKEN)))

    def note(self, what: str) -> None:
        self.actions.append(f"{self.world.seconds:9.3f} {what}")

    # ------------------------------------------------------------------ playing

    def run(self) -> None:
        providing = Process(self.world, "provider")
        self.network.listen(PROVIDER, providing, partial(Connection, self.provider))
        self.relay.start()
        self.people.call_soon(self._arrive)
        over = self.world.run(self._over, LIMIT)
        self.complaints()
        assert over, f"somebody waits for ever: {[task for task in self._playing if not task.done()]}"
        checks.everything(self)

    def _over(self) -> bool:
        return self._playing != [] and not self._busy

    def complaints(self) -> None:
        """What went wrong in somebody's process."""
        for task in self._playing:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        for process in (self.people, self.relay.process, self.relay.supervisor):
            for context in process.complaints:
                raise AssertionError(f"{process}: {context['message']}") from context.get("exception")
        assert not self.machine.complaints.told, self.machine.complaints.told[0]

    def _arrive(self) -> None:
        """The people's process begins."""
        self.browser = Browser(self.world)
        self.client = Client(
            URL,
            clock=SimulatedClock(self.people),
            random=self.chance.random,
            retry=Retry(first=0.2, longest=4.0),
            heartbeat=self.settings.limits.heartbeat,
            new_key=lambda: f"key-{self.chance.getrandbits(32)}",
        )
        for stream in self.streams:
            stream.known = self.people.create_future()
            self._play(self._begin(stream))
            for _ in range(self.chance.choice((0, 1, 1, 2, 3))):
                self._play(self._join(stream))
        if self.relay.disk is not None and self.chance.random() < 0.25:
            # Most answers are over soon: a crash at any time would seldom find one that runs.
            self.people.call_later(0.1 + self.chance.random(), self._trouble, type(self)._crash)
        for _ in range(self.chance.choice((0, 1, 2, 3, 5))):
            action = self.chance.choice(self.TROUBLES)
            self.people.call_later(self.chance.random() ** 3 * TROUBLE, self._trouble, action)

    def _play(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.people.create_task(coroutine)
        self._playing.append(task)
        self._busy += 1
        task.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        self._busy -= 1

    async def _begin(self, stream: Begun) -> None:
        """Somebody asks for an answer."""
        chance = self.chance
        await sleep(chance.random() * 0.2)
        try:
            if chance.random() < 0.4:
                await self._start(stream)
            else:
                await self._call(stream)
        finally:
            if not stream.known.done():
                stream.known.set_result("")

    async def _start(self, stream: Begun) -> None:
        """By ``POST /v1/streams``, with the real client."""
        own = stream.plan.dialect.name
        dialect = "openai.chat" if own == "gemini" else own  # whose requests have their model in the path
        policy = self.chance.choice((None, "cancel", "linger=3", "finish"))
        _, body = self._request(stream, dialect, usage=self.chance.random() < 0.5)
        body = {**body, "model": self._model(stream)}
        self.note(f"{stream.model}: started in {dialect}, {policy}")
        try:
            stream.id = await self.client.start(body, dialect=dialect, on_disconnect=policy)
        except (RelayRefused, RelayUnreachable) as error:
            self.note(f"{stream.model}: not started: {error}")
            # Asked again behind a restart, with a clock that was set hours ahead: that stream's time is over.
            expired = self.world.wall_offset > 0 and getattr(error, "code", "") == "stream_expired"
            if isinstance(error, RelayRefused) and error.status != 503 and not expired:
                raise
            return
        stream.known.set_result(stream.id)
        if self.chance.random() < 0.7:
            await self._read(stream, Native("native", "start"))

    async def _call(self, stream: Begun) -> None:
        """By the vendor's own route."""
        chance = self.chance
        own = stream.plan.dialect.name
        dialect = own if chance.random() < 0.7 else chance.choice(SPOKEN)
        ids = chance.random() < 0.5 and dialect not in ("gemini", "ollama")
        key = f"key-{chance.getrandbits(32)}" if chance.random() < 0.3 else None
        policy = chance.choice((None, "cancel", "linger=3", "finish"))
        fields = [("x-tokenwire-ids", "1")] * ids
        fields += [("idempotency-key", key)] if key else []
        fields += [("x-tokenwire-on-disconnect", policy)] if policy else []
        # Who may go on by the follow route, which tells the usage, asks for it from the beginning.
        path, body = self._request(stream, dialect, usage=ids or chance.random() < 0.5)
        ask = partial(self.browser.ask, "POST", path, body=msgspec.json.encode(body), fields=tuple(fields))
        self.note(f"{stream.model}: asked in {dialect} of {own}, {fields}")
        vendor = VENDORS[dialect]
        given = vendor.answers(vendor.parse(msgspec.json.encode(body)), dialect == own)
        caller = Caller(given, ids=ids, key=key)
        stream.readers.append(caller)
        try:
            download = await self._first(ask) if key else await ask()
        except Broken as error:
            caller.outcome, caller.why = "over", str(error)
            return
        stream.id = caller.stream = download.fields.get("x-tokenwire-stream", "")
        stream.known.set_result(stream.id)
        await caller.call(self.browser, download, ask, chance)
        self.note(f"{stream.model}: {caller} {caller.outcome} {caller.why}")

    async def _first(self, ask: Callable[[], Coroutine[Any, Any, Download]]) -> Download:
        for _ in range(TRIES):
            try:
                return await ask()
            except Broken:
                await sleep(self.chance.random())
        raise AssertionError("no answer")

    def _request(self, stream: Begun, dialect: str, *, usage: bool) -> tuple[str, dict[str, Any]]:
        path, body = ROUTES[dialect]
        model = self._model(stream)
        if dialect == "openai.chat" and usage:
            body = {**body, "stream_options": {"include_usage": True}}
        return path.format(model), body if dialect == "gemini" else {**body, "model": model}

    @staticmethod
    def _model(stream: Begun) -> str:
        return f"{stream.plan.dialect.name.replace('.', '-')}/{stream.model}"

    async def _join(self, stream: Begun) -> None:
        """Somebody follows it, sooner or later."""
        chance = self.chance
        if not await stream.known:
            return
        await sleep(chance.choice((0.0, 0.05, 1.0, 5.0)) * chance.random())
        name = chance.choice(FOLLOWED)
        begin: Begin = chance.choice(BEGINNINGS)
        await self._read(stream, Native(name, begin) if name == "native" else Follower(name, begin))

    async def _read(self, stream: Begun, reader: Reader) -> None:
        stream.readers.append(reader)
        self.note(f"{stream.model}: {reader} comes")
        if isinstance(reader, Native):
            await reader.run(self.client, stream.id)
        elif isinstance(reader, Follower):
            await reader.run(self.browser, stream.id, self.chance)
        self.note(f"{stream.model}: {reader} {reader.outcome} {reader.why}")

    def bury(self) -> None:
        """Leave nothing behind that the next schedule could hear of."""
        for process in self.world.processes:
            process.bury()
        self.machine.complaints.told.clear()

    # ------------------------------------------------------------------ trouble

    def _trouble(self, action: Callable[[Schedule], None]) -> None:
        if not self._over():
            action(self)

    def _cut(self) -> None:
        """A connection breaks, now or some bytes later."""
        links = self.network.to(self.chance.choice((PORT, PORT, PORT, PROVIDER)))
        if links:
            link = self.chance.choice(links)
            after = self.chance.choice((0, 1, 10, 300))
            end = link.near
            end.cut_after = end.delivered + 1 + int(after * self.chance.random())
            self.note(f"{end} to {link.port} breaks in {end.cut_after - end.delivered} bytes")

    def _storm(self) -> None:
        """All clients' connections break at once."""
        self.note("storm")
        for link in self.network.to(PORT):
            link.cut()

    def _freeze(self) -> None:
        """A client reads nothing for a while, or not any more."""
        links = self.network.to(PORT)
        if links:
            end = self.chance.choice(links).near
            end.frozen = True
            seconds = self.chance.choice((0.1, 2.0, 15.0))
            self.note(f"{end} frozen for {seconds:g} s")
            self.people.call_later(seconds, end.thaw)

    def _vanish(self) -> None:
        """A client's machine is gone, and comes back elsewhere."""
        links = self.network.to(PORT)
        if links:
            self.note("a client vanishes")
            self.chance.choice(links).near.vanish()

    def _leave(self) -> None:
        readers = [reader for stream in self.streams for reader in stream.readers if not reader.outcome]
        if readers:
            reader = self.chance.choice(readers)
            self.note(f"{reader} leaves")
            reader.leave()

    def _cancel(self) -> None:
        """Somebody asks for the end, perhaps just as it comes."""
        self._play(self._ask("POST", "/cancel"))

    def _delete(self) -> None:
        self._play(self._ask("DELETE", ""))

    async def _ask(self, method: str, action: str) -> None:
        stream = self.chance.choice(self.streams)
        if not stream.id:
            return
        self.note(f"{stream.model}: {method} {action}")
        if method == "DELETE":
            self.deleted.add(stream.id)
        try:
            download = await self.browser.ask(method, f"/v1/streams/{stream.id}{action}")
            await download.body()
            assert download.status in (200, 204, 404, 503), download.status
        except Broken:
            pass

    def _jump(self) -> None:
        """Somebody sets the clock."""
        seconds = self.chance.choice((-7200.0, -1.0, 1.0, 7200.0))
        self.note(f"the clock jumps by {seconds:g} s")
        self.world.wall_offset += seconds

    def _suspend(self) -> None:
        """The relay gets no processor for a while."""
        seconds = self.chance.choice((0.1, 1.0, 5.0))
        self.note(f"the relay stands still for {seconds:g} s")
        self.relay.process.suspend(seconds)
        if self.relay.disk is not None:  # it may be well, and is not asked
            self.relay.disk.troubled_ns = self.world.now_ns + int(seconds * 1e9)

    def _crash(self) -> None:
        """kill -9, and a supervisor."""
        if self.relay.alive:
            seconds = self.chance.choice((0.0, 0.3, 3.0))
            self.note(f"the relay is killed, for {seconds:g} s")
            self.relay.kill(seconds)

    def _restart(self) -> None:
        """A new release."""
        if self.relay.alive:
            self.note("the relay is stopped")
            self.relay.stop(self.chance.choice((0.0, 0.3)))

    def _disk(self) -> None:
        """The disk stalls, fails, fills up, for a while."""
        disk = self.relay.disk
        if disk is not None:
            mood: Mood = self.chance.choice(("failing", "full", "flaky", "stalled"))
            seconds = self.chance.choice((0.3, 2.0, 10.0))
            self.note(f"the disk is {mood} for {seconds:g} s")
            disk.becomes(mood)
            self.people.call_later(seconds, self.heal)

    def heal(self) -> None:
        if self.relay.disk is not None and self.relay.disk.mood != "well":
            self.relay.disk.becomes("well")

    TROUBLES = (
        _cut, _cut, _cut, _cut, _storm, _freeze, _freeze, _vanish, _leave, _cancel, _delete, _jump, _suspend,
        _crash, _crash, _crash, _restart, _disk, _disk, _disk,
    )  # fmt: skip


def play(seed: int, machine: Machine) -> Schedule:
    """Play one schedule. What it raises has ``schedule`` as an attribute."""
    schedule = Schedule(seed, machine)
    try:
        schedule.run()
    except BaseException as error:
        error.schedule = schedule  # type: ignore[attr-defined]
        raise
    finally:
        schedule.bury()
    return schedule
