"""Leaving an answer, wherever it is: the upstream is closed, directly and through a relay."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from tests.library.conftest import Ask, Asked, Way, both_ways, paced

import tokenwire
from tokenwire.simulator import Simulator
from tokenwire.testing.rig import until


@both_ways
def test_leaving_a_block_stops_the_upstream(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        async with ask("up/gpt-4o", "hi", request=paced(10_000, 1)) as stream:
            async for _ in stream.text_stream:
                break
        if way == "direct":
            assert node.core.hub.statistics().running == 0, "at once, not in a later turn"
        await until(lambda: simulator.stats.active == 0)
        assert simulator.stats.aborted == 1
        assert [piece async for piece in stream.text_stream] == []
        await stream.close()

    asked(main, way)


@both_ways
def test_a_stream_that_is_dropped_in_the_middle_stops_the_upstream(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "hi", request=paced(10_000, 1))
        async for _ in stream:
            break
        del stream
        gc.collect()
        await until(lambda: simulator.stats.aborted == 1)

    asked(main, way)


@both_ways
def test_cut_at_every_suspension_the_upstream_is_closed(asked: Asked, way: Way) -> None:
    """The whole scenario again and again, cancelled at its first wait, its second, and so on to the last."""

    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> int:
        async def scenario() -> None:
            async with ask("up/gpt-4o", "hi", request=paced(6, 8)) as stream:
                async for _ in stream:
                    pass

        cuts = 0
        while True:
            task = asyncio.get_running_loop().create_task(_cut(scenario(), cuts))
            cut = await task
            if way == "direct":
                assert node.core.hub.statistics().running == 0, f"cut {cuts}: closed in the same turn"
            await until(lambda: simulator.stats.active == 0)
            if not cut:
                return cuts
            cuts += 1

    assert asked(main, way) >= 3


async def _cut(work: Any, at: int) -> bool:
    """Run *work* to its wait number *at*, and cancel it there. False if it ended before."""

    class Steps:
        def __await__(self) -> Any:
            for _ in range(at):
                try:
                    waited = work.send(None)
                except StopIteration:
                    return False
                yield waited
            try:
                waited = work.send(None)
            except StopIteration:
                return False
            if waited is not None:  # what was waited for is waited for no more, as with a cancelled task
                waited._asyncio_future_blocking = False
                waited.cancel()
            while True:
                try:
                    waited = work.throw(asyncio.CancelledError)
                except asyncio.CancelledError:
                    return True
                while True:  # it waits once more, to tell the relay
                    yield waited
                    try:
                        waited = work.send(None)
                    except asyncio.CancelledError:
                        return True

    return bool(await Steps())


def test_whoever_wants_a_cancel_on_leaving_has_time_to_come(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "hi", on_disconnect="cancel", request=paced(30, 2))
        assert len([piece async for piece in stream.text_stream]) == 30

    asked(main, "relay")


@both_ways
def test_what_was_left_has_its_usage_estimated(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        async with ask("up/gpt-4o", "Tell me of the sea.", request=paced(10_000, 1)) as stream:
            async for _ in stream.text_stream:
                if stream.answer.timing.events >= 40:
                    break
        usage = stream.usage
        assert usage is not None
        assert usage.estimated
        assert usage.output is not None
        assert 20 < usage.output < 400
        assert usage.input

    asked(main, way)
