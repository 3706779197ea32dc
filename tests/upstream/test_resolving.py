"""Names and what they mean: asked when somebody connects, once for all who ask together, and seen to change."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.errors import ConnectFailed
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Rig, run_in, settle, until
from tokenwire.testing.upstream import REQUEST, Peer, ScriptedUpstream, answer
from tokenwire.upstream.resolving import KEEP_SECONDS, MAX_NAMES, AddressInfo, Resolver

Run = Callable[..., Any]


def info(host: str, port: int) -> AddressInfo:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


class Names:
    """A resolver's source: what names mean is what the test says, now."""

    def __init__(self) -> None:
        self.meaning: list[AddressInfo] | Exception = []
        self.asked: list[tuple[str, int]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, host: str, port: int) -> list[AddressInfo]:
        self.asked.append((host, port))
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.meaning, Exception):
            raise self.meaning
        return self.meaning


async def serve(peer: Peer) -> None:
    while True:
        await peer.request()
        peer.write(answer(b"{}"))


# ---------------------------------------------------------------------- DNS that changes, at the pool


def test_a_name_that_moves_is_followed_by_the_next_connection(run: Run) -> None:
    clock = ManualClock()
    names = Names()

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream(host="127.0.0.2") as old,
            ScriptedUpstream(host="127.0.0.3", port=old.port) as new,
        ):
            url = f"http://provider.test:{old.port}"
            names.meaning = [info("127.0.0.2", old.port)]
            (await rig.connect(url)).abort()
            names.meaning = [info("127.0.0.3", old.port)]
            (await rig.connect(url)).abort()  # a moment later: not asked again
            assert len(names.asked) == 1
            clock.advance(KEEP_SECONDS)
            (await rig.connect(url)).abort()
            await until(lambda: (len(old.peers), len(new.peers)) == (2, 1))

    run(main, clock=clock, resolver=Resolver(clock.now_ns, names))


def test_a_connection_to_an_address_that_left_is_not_used_for_ever(run: Run) -> None:
    """However busy it is: between two answers it is looked at."""
    clock = ManualClock()
    names = Names()

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([serve], host="127.0.0.2") as old,
            ScriptedUpstream([serve], host="127.0.0.3", port=old.port) as new,
        ):
            url = f"http://provider.test:{old.port}"
            names.meaning = [info("127.0.0.2", old.port)]
            for _ in range(10):
                await (await rig.exchange(url)).over()
                clock.advance(30.0)
            assert rig.pool.statistics()[2:] == (1, 9)
            names.meaning = [info("127.0.0.3", old.port)]
            clock.advance(0.1)
            await (await rig.exchange(url)).over()
            assert await old.peers[0].gone() in ("fin", "reset")
            assert len(new.peers) == 1

    run(main, clock=clock, resolver=Resolver(clock.now_ns, names))


def test_an_answer_that_ends_after_that_age_is_not_cut_but_its_connection_is_not_kept(run: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            clock.advance(3000.0)
            (await upstream.peer()).write(answer(b"{}"))
            await exchange.over()
            assert exchange.ended
            assert rig.connections == (0, 0)

    run(main, clock=clock)


def test_addresses_that_were_of_no_use_are_asked_for_anew(run: Run, closed_port: int) -> None:
    clock = ManualClock()
    names = Names()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            names.meaning = [info("127.0.0.1", closed_port)]
            with pytest.raises(ConnectFailed, match="Connection refused"):
                await rig.connect("http://provider.test")
            names.meaning = [info("127.0.0.1", upstream.port)]
            (await rig.connect("http://provider.test")).abort()
            assert names.asked == [("provider.test", 80)] * 2

    run(main, clock=clock, resolver=Resolver(clock.now_ns, names))


# ---------------------------------------------------------------------- the resolver


def test_many_who_ask_together_are_one_question() -> None:
    names = Names()
    names.meaning = [info("127.0.0.1", 80)]

    async def main() -> None:
        names.gate = asyncio.Event()
        resolver = Resolver(ManualClock().now_ns, names)
        waiting = [asyncio.create_task(resolver.addresses("a.test", 80)) for _ in range(50)]
        waiting.append(asyncio.create_task(resolver.addresses("a.test", 81)))
        await settle()
        waiting[0].cancel()  # whoever leaves takes nobody along
        await settle()
        names.gate.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert answers[1:] == [names.meaning] * 50
        assert names.asked == [("a.test", 80), ("a.test", 81)]

    run_in("uvloop", main)


def test_a_question_that_nobody_waits_for_any_more_is_dropped() -> None:
    names = Names()

    async def main() -> None:
        names.gate = asyncio.Event()
        resolver = Resolver(ManualClock().now_ns, names)
        waiting = [asyncio.create_task(resolver.addresses("a.test", 80)) for _ in range(2)]
        await settle()
        for task in waiting:
            task.cancel()
        await settle()
        assert len(asyncio.all_tasks()) == 1
        names.gate.set()
        names.meaning = [info("127.0.0.1", 80)]
        assert await resolver.addresses("a.test", 80) == names.meaning
        assert len(names.asked) == 2

    run_in("uvloop", main)


def test_failures_reach_all_who_wait_and_are_not_kept() -> None:
    names = Names()

    async def main() -> None:
        names.gate = asyncio.Event()
        names.meaning = socket.gaierror(socket.EAI_AGAIN, "try again")
        resolver = Resolver(ManualClock().now_ns, names)
        waiting = [asyncio.create_task(resolver.addresses("a.test", 80)) for _ in range(3)]
        await settle()
        names.gate.set()
        failures = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(failure) for failure in failures] == [socket.gaierror] * 3
        names.meaning = [info("127.0.0.1", 80)]
        assert await resolver.addresses("a.test", 80) == names.meaning

    run_in("uvloop", main)


def test_nothing_found_is_not_kept_and_names_are_bounded() -> None:
    names = Names()

    async def main() -> None:
        resolver = Resolver(ManualClock().now_ns, names)
        for _ in range(2):
            assert await resolver.addresses("a.test", 80) == []
        assert len(names.asked) == 2
        names.meaning = [info("127.0.0.1", 80)]
        for number in range(MAX_NAMES + 1):
            await resolver.addresses(f"{number}.test", 80)
        names.asked.clear()
        for number in (MAX_NAMES, 1, 0):
            await resolver.addresses(f"{number}.test", 80)
        assert names.asked == [("0.test", 80)]

    run_in("uvloop", main)
