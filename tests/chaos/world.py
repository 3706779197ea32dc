"""Streams, what is done to them, and the judgement in the end.

The oracle is the log as the store has it, read by a relay that has nothing else; and the text that the simulator must
have said, which is known without asking (``truth``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

import uvloop
from tests.chaos.followers import AGAIN_SECONDS, Follower
from tests.chaos.truth import DIALECTS, Plan, plan, text_of

from tokenwire import simulator
from tokenwire.simulator import Simulator
from tokenwire.testing.http_client import Answer, Client
from tokenwire.testing.rig import settle
from tokenwire.wire import sse
from tokenwire.wire.sse import Event

T = TypeVar("T")

#: What a stream may have come to.
ENDED: Final = frozenset({"completed", "cancelled", "orphaned", "failed"})
#: What is not stored yet when a relay is killed is younger than this: a quarter of a second on an idle machine.
WINDOW_SECONDS: Final = 1.0
#: Dialects in which a reader that lags gets runs of text as one frame.
MERGING: Final = frozenset({"native", "ui-messages", "agui"})


class Told:
    """One stream, as its starter knows it.

    Attributes:
        seed: of the schedule that it belongs to; said by every failure.
        ids: what the relay called it, the last one newest: a start whose answer was lost is repeated.
        followers: who reads it.
        stopped, deleted: whether a relay has confirmed that.
    """

    def __init__(self, seed: int, number: int, planned: Plan) -> None:
        self.seed = seed
        self.key = f"{seed}-{number}"
        self.plan = planned
        self.ids: list[str] = []
        self.followers: list[Follower] = []
        self.stopped = False
        self.deleted = False

    @property
    def id(self) -> str:
        return self.ids[-1]


class World:
    """Everything that was begun at the relays of one store.

    Args:
        port: where they are, one after another.
        mortal: they are killed: what had not been stored by then may be lost.

    Attributes:
        kills: when, by the loop's clock.
    """

    def __init__(self, port: int, *, mortal: bool) -> None:
        self.port = port
        self.streams: list[Told] = []
        self.figures = {
            "streams": 0,
            "readers": 0,
            "connections": 0,
            "resets": 0,
            "unknown": 0,
            "orphaned": 0,
            "ahead": 0,
        }
        self.kills: list[float] = []
        self._mortal = mortal

    # ------------------------------------------------------------------ what is done

    async def play(self, seed: int, *, seconds: float = 0.3) -> None:
        """One schedule: a few streams of about so many *seconds*, their readers, and who meddles with them."""
        random = Random(seed)
        mine = [Told(seed, number, plan(random, tokens=(1, 250), seconds=seconds)) for number in range(2)]
        for told in mine:
            self.streams.append(told)
            await self._start(told)
        doing: list[Coroutine[Any, Any, None]] = []
        for told in mine:
            for _ in range(random.randint(1, 3)):
                follower = Follower(self.port, told.id, random.choice(DIALECTS), Random(random.random()))
                told.followers.append(follower)
                doing.append(follower.run())
            doing += self._meddling(told, random, seconds)
        try:
            async with asyncio.TaskGroup() as group:
                for each in doing:
                    group.create_task(each)
        except BaseExceptionGroup as errors:
            raise AssertionError(f"seed {seed}: {errors.exceptions[0]!r}") from errors.exceptions[0]

    def _meddling(self, told: Told, random: Random, seconds: float) -> list[Coroutine[Any, Any, None]]:
        when = random.uniform(0, seconds)
        fate = random.random()
        if fate < 0.15:
            return [self._stop(told, when)]
        if fate < 0.25:
            return [self._delete(told, when)]
        if fate < 0.4:
            return [self._again(told, when)]
        return []

    async def _start(self, told: Told) -> None:
        body = {"dialect": told.plan.dialect, "request": told.plan.body, "on_disconnect": "finish"}
        answer = await self._ask("POST", "/v1/streams", body, {"idempotency-key": told.key})
        assert answer.status == 201, f"seed {told.seed}: {answer.status} {bytes(answer.body)!r}"
        told.ids.append(answer.json["id"])

    async def _again(self, told: Told, when: float) -> None:
        """The same request with the same key, from who does not know that it was answered."""
        await asyncio.sleep(when)
        first = told.id
        await self._start(told)
        if told.id == first:
            told.ids.pop()
        else:
            assert self._mortal, f"seed {told.seed}: the model ran twice for one key"

    async def _stop(self, told: Told, when: float) -> None:
        """From another connection, and once more."""
        await asyncio.sleep(when)
        for _ in range(2):
            answer = await self._ask("POST", f"/v1/streams/{told.id}/cancel")
            assert answer.status == 200 or (self._mortal and answer.status == 404), answer.status
        told.stopped = True

    async def _delete(self, told: Told, when: float) -> None:
        await asyncio.sleep(when)
        answer = await self._ask("DELETE", f"/v1/streams/{told.id}")
        assert answer.status in (204, 404), answer.status  # 404: it was told earlier, and the answer was a 503
        told.deleted = True

    async def _ask(self, method: str, path: str, body: object = None, fields: dict[str, str] | None = None) -> Answer:
        """Ask until there is an answer, and the relay does not ask to come back later."""
        while True:
            try:
                client = await Client.connect(self.port)
            except OSError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                answer = await client.request(method, path, body, fields).whole()
            finally:
                client.close()
                await client.gone()
            if answer.complete and answer.status != 503:
                return answer
            await asyncio.sleep(AGAIN_SECONDS)

    # ------------------------------------------------------------------ the judgement

    async def judge(self) -> None:
        """Every reader has what the store has, and that is what the model said. Raises ``AssertionError``."""
        ids = [each for told in self.streams for each in told.ids]
        assert len(ids) == len(set(ids)), "an id was given twice"
        client = await Client.connect(self.port)
        for told in self.streams:
            try:
                await self._judge(client, told)
            except AssertionError as error:
                raise AssertionError(f"seed {told.seed}, stream {told.ids}, {told.plan}: {error}") from error
        client.close()
        await client.gone()

    async def _judge(self, client: Client, told: Told) -> None:
        for stream in dict.fromkeys([*told.ids, *(follower.stream for follower in told.followers)]):
            followers = [each for each in told.followers if each.stream == stream]
            self.figures["streams"] += 1
            self.figures["readers"] += len(followers)
            self.figures["connections"] += sum(each.connections for each in followers)
            self.figures["resets"] += sum(each.resets for each in followers)
            described = await client.get(f"/v1/streams/{stream}").whole()
            if told.deleted or described.status == 404:
                assert described.status == 404, "it was deleted, and is here"
                assert told.deleted or self._mortal, "it is gone"
                self.figures["unknown"] += 1
                continue
            assert described.status == 200, described.status
            await self._judge_readers(client, told, stream, described.json, followers)

    def _is_ahead(self, follower: Follower, text: str, truth: str) -> bool:
        """Whether it had the end just before the relay was killed, and so never came back to be told that not all of
        that had been stored: the one loss that there may be, of a window."""
        folded = text_of(follower.dialect, follower.events)
        window = any(0 <= kill - follower.over_at < WINDOW_SECONDS for kill in self.kills)
        return window and folded.startswith(text) and truth.startswith(folded) and len(folded) > len(text)

    async def _judge_readers(
        self, client: Client, told: Told, stream: str, described: dict[str, Any], followers: list[Follower]
    ) -> None:
        state = described["state"]
        self.figures["orphaned"] += state == "orphaned"
        assert state in ENDED, state
        assert state != "orphaned" or self._mortal
        assert state != "cancelled" or told.stopped
        stored = await replay(client, stream, "native")
        text = text_of("native", stored)
        truth = told.plan.text
        assert truth.startswith(text), f"{text[-80:]!r} is not what the model said"
        assert state != "completed" or text == truth, f"it says that it is whole, and has {len(text)} of {len(truth)}"
        for dialect in {follower.dialect for follower in followers}:
            events = stored if dialect == "native" else await replay(client, stream, dialect)
            assert text_of(dialect, events) == text, f"{dialect} has another text than native"
            names: dict[str | None, tuple[str, str]] = {}
            for follower in followers:
                if follower.dialect == dialect:
                    if self._is_ahead(follower, text, truth):
                        self.figures["ahead"] += 1
                    else:
                        _judge_reader(follower, events, text)
                    for event in follower.seen:
                        if dialect in MERGING and text_of(dialect, [event]):
                            continue  # as much of it as was waiting
                        said = (event.event, event.data)
                        assert names.setdefault(event.id, said) == said, f"id {event.id} was given twice: {said}"


def _judge_reader(follower: Follower, stored: list[Event], text: str) -> None:
    who = f"the reader of {follower.dialect} after {follower.resets} resets: "
    assert follower.outcome == "over", who + f"it was told {follower.outcome}"
    folded = text_of(follower.dialect, follower.events)
    assert folded == text, who + f"it has {folded[-60:]!r} ({len(folded)}), stored is {text[-60:]!r} ({len(text)})"
    mine, theirs = landmarks(follower.dialect, follower.events), landmarks(follower.dialect, stored)
    if follower.prefix:  # which has its own frames in place of the first ones
        mine = [mark for mark in mine if mark.number >= follower.prefix]
        theirs = theirs[len(theirs) - len(mine) :]
    for got, wanted in zip(mine, theirs, strict=True):
        assert got[1:] == wanted[1:], who + f"{got} is not {wanted}"


class Landmark(NamedTuple):
    """An event that has to be there whoever reads: its number among those of its reader, how much text comes before
    it, where it stands in the log whatever the epoch, and what it says."""

    number: int
    before: int
    place: str
    name: str
    data: str


def landmarks(dialect: str, events: Sequence[Event]) -> list[Landmark]:
    """All of *events* where each is a frame of its own; without the text where who lags gets many of them as one."""
    found = []
    before = 0
    for number, event in enumerate(events):
        text = text_of(dialect, [event])
        if not text or dialect not in MERGING:
            found.append(Landmark(number, before, place(event), event.event, event.data))
        before += len(text)
    return found


def place(event: Event) -> str:
    """Where in the log it stands, whatever the epoch."""
    return str(event.id).partition("-")[2]


async def replay(client: Client, stream: str, dialect: str) -> list[Event]:
    """All of a stream that is over, in *dialect*; every event has an id, and each a later one than that before it."""
    answer = await client.get(f"/v1/streams/{stream}/events?dialect={dialect}").whole()
    if answer.status == 502 and b"was restarted" in answer.body:
        return []
    assert answer.status == 200, f"{answer.status}: {bytes(answer.body)!r}"
    assert answer.complete
    events = sse.Decoder().feed(bytes(answer.body))
    places = [tuple(map(int, place(event).split("."))) for event in events]
    order = [(seq, *rest) if rest else (seq - 1, 10**9) for seq, *rest in places]
    assert order == sorted(set(order)), f"{dialect}: {places}"
    return events


@asynccontextmanager
async def pretended() -> AsyncIterator[Simulator]:
    """The simulator, in this loop."""
    model = await simulator.serve()
    try:
        yield model
    finally:
        await model.close()


def run(main: Callable[[], Awaitable[T]], seconds: float = 240.0) -> T:
    """Run *main* in a loop of its own. Raises ``AssertionError`` if a task is left, or the loop reports anything."""
    reported: list[dict[str, Any]] = []

    async def guarded() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with asyncio.timeout(seconds):
            result = await main()
        await settle(5)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    logging.getLogger("tokenwire").setLevel(logging.ERROR)  # a store that fails is told of, and here it is meant to
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(guarded())
    finally:
        logging.getLogger("tokenwire").setLevel(logging.NOTSET)
    assert not reported, reported
    return result
