"""What servers say of keeping a connection (``Keep-Alive``), in the ways that they say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing.clock import ManualClock
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.rig import Rig, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("timeout=5", 4.0),
        ("timeout=5, max=1000", 4.0),
        ("max=1000,Timeout = 5", 4.0),
        ('timeout="5"', 4.0),
        ("timeout=1", 0.5),
        ("timeout=600", 45.0),  # ours is shorter
        ("something=else", 45.0),
        ("timeout=soon", 45.0),
        ("", 45.0),
    ],
)
def test_its_time_is_heeded_with_some_to_spare(run_once: Run, said: str, seconds: float) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        reply = answer(b"{}", fields=[("Keep-Alive", said)])
        async with ScriptedUpstream([REQUEST, reply, REQUEST, reply]) as upstream:
            origin = rig.origin(upstream.base_url)
            for _ in range(2):
                exchange = await rig.exchange(upstream.base_url)
                await exchange.over()
                clock.advance(seconds)  # to the second, and not a moment longer
            assert rig.pool.statistics().reused == 1
            clock.advance(0.001)
            assert rig.pool.take(origin) is None
            await until(lambda: rig.connections == (0, 0))

    run_once(main, clock=clock)


def test_no_time_at_all_is_none(run_once: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        reply = answer(b"{}", fields=[("Keep-Alive", "timeout=0")])
        async with ScriptedUpstream([REQUEST, reply]) as upstream:
            await (await rig.exchange(upstream.base_url)).over()
            clock.advance(0.001)
            assert rig.pool.take(rig.origin(upstream.base_url)) is None

    run_once(main, clock=clock)


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (["max=2", "max=1", "max=0", "max=9"], 3),  # what is left, as Apache says it
        (["max=2", "max=2", "max=2", "max=2"], 3),  # what it takes in all, as Node says it
        (["max=0", "max=9"], 1),
        (["timeout=9", "max=1", "timeout=9", "max=1"], 4),
    ],
)
def test_its_number_of_requests_is_heeded(run_once: Run, said: list[str], used: int) -> None:
    async def main(rig: Rig) -> None:
        script: list[Any] = []
        for each in said:
            script += [REQUEST, answer(b"{}", fields=[("Keep-Alive", each)])]
        async with ScriptedUpstream(script, [REQUEST, answer(b"{}")]) as upstream:
            for _ in range(used + 1 if used < len(said) else used):
                await (await rig.exchange(upstream.base_url)).over()
            assert len(upstream.peers[0].requests) == used
            assert len(upstream.peers) == (2 if used < len(said) else 1)

    run_once(main)
