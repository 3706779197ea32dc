"""The tool loop, left: cancelled at every await, closed after every update, and from another task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.library.turns import Model, call, calling, collect, counted, saying

from tokenwire.dialects.deltas import Started
from tokenwire.library.tool_loop import ToolLoop
from tokenwire.library.tool_run import CallRequest
from tokenwire.library.tools import ToolContext
from tokenwire.testing.rig import run_in, until

ASKED = [{"role": "user", "content": "hi"}]


def run(main: Callable[[], Any]) -> Any:
    return run_in("asyncio", main)


class Scene:
    """Two turns with a slow async tool, a thread that waits to be told, and a hook that takes its time."""

    def __init__(self) -> None:
        both = calling(call("a", "waits", "{}"), call("b", "blocks", "{}", block=1), call("c", "quick", "{}", block=2))
        self.model = Model(both, saying("ok"))
        self.contexts: list[ToolContext] = []
        self.open = 0
        self.blocked: list[threading.Thread] = []
        self.ended: list[str] = []

    def loop(self) -> ToolLoop:
        release = asyncio.Event()

        async def waits(context: ToolContext) -> str:
            self.contexts.append(context)
            self.open += 1
            try:
                await release.wait()
                await asyncio.sleep(0)
            finally:
                try:
                    await asyncio.sleep(0)  # it cleans up
                finally:
                    self.open -= 1
            self.ended.append("waits")
            return "1"

        def blocks(context: ToolContext) -> str:
            self.contexts.append(context)
            self.ended.append("blocks")
            return "2"

        async def quick() -> str:
            self.ended.append("quick")
            release.set()
            return "3"

        async def approve(request: CallRequest) -> bool:
            self.open += 1
            try:
                await asyncio.sleep(0)
            finally:
                self.open -= 1
            return True

        return ToolLoop(self.model, ASKED, [waits, blocks, quick], approve=approve)

    def check(self, *, whole: bool) -> None:
        assert self.model.clean
        assert self.open == 0
        if not whole:
            assert len(self.model.turns) <= 2


def test_cancelled_at_any_await_it_leaves_nothing_behind() -> None:
    """The threads' timing makes the number of awaits vary a little: the last cuts may come too late."""

    async def cut(at: int) -> bool:
        scene, count = Scene(), 0
        loop = scene.loop()

        def suspended() -> None:
            nonlocal count
            count += 1
            if count == at:
                asyncio.get_running_loop().call_soon(task.cancel)

        async def scenario() -> list[Any]:
            return await counted(collect(loop), suspended)

        task = asyncio.ensure_future(scenario())
        await asyncio.wait([task])
        scene.check(whole=not task.cancelled())
        with pytest.raises(StopAsyncIteration):
            await anext(loop)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return task.cancelled()

    async def main() -> list[bool]:
        return [await cut(at) for at in range(1, 45)]

    cuts = run(main)
    assert all(cuts[:20])
    assert not cuts[-1]


def test_left_after_any_update_it_leaves_nothing_behind() -> None:
    async def leave(after: int) -> int:
        scene, seen = Scene(), 0
        async with scene.loop() as loop:
            async for _ in loop:
                seen += 1
                if seen == after:
                    break
        scene.check(whole=False)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return seen

    async def main() -> list[int]:
        return [await leave(after) for after in range(25)]

    seen = run(main)
    assert seen[1:15] == list(range(1, 15))
    assert seen[0] == seen[-1] < 25


@pytest.mark.parametrize("where", ["turn", "tool"])
def test_closed_from_another_task_the_iteration_ends(where: str) -> None:
    began = threading.Event()
    seen: list[str] = []

    async def waits() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def main() -> Any:
        model = Model([Started(), ...] if where == "turn" else calling(call("c", "waits", "{}")))
        loop = ToolLoop(model, ASKED, [waits])
        task = asyncio.ensure_future(collect(loop))
        await until(lambda: model.turns and (model.turns[0].left == [] if where == "turn" else began.is_set()))
        await loop.close()
        updates = await task
        await loop.close()
        assert model.clean or model.turns[0].closed == 2  # by us, and when it ended
        return [type(update) for update in updates]

    assert Started in run(main)
    assert seen == ([] if where == "turn" else ["cancelled"])


def test_closed_before_it_began_nothing_is_asked() -> None:
    async def main() -> Any:
        model = Model()
        loop = ToolLoop(model, ASKED)
        await loop.close()
        return await collect(loop), model.asked

    assert run(main) == ([], [])


def test_cancelled_in_the_middle_of_a_tool_nobody_waits_for_its_thread() -> None:
    begun, told = threading.Event(), threading.Event()

    def blocks(context: ToolContext) -> None:
        begun.set()
        context.cancelled.wait(5)
        told.set()

    async def main() -> None:
        model = Model(calling(call("c", "blocks", "{}")))
        task = asyncio.ensure_future(collect(ToolLoop(model, ASKED, [blocks])))
        await until(begun.is_set)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert model.clean

    run(main)
    assert told.wait(5)


def test_cancelled_while_somebody_is_asked_the_question_is_withdrawn() -> None:
    seen: list[str] = []

    def never() -> None:
        seen.append("ran")

    async def main() -> None:
        asked = asyncio.Event()

        async def approve(request: CallRequest) -> bool:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("withdrawn")
            return True

        model = Model(calling(call("c", "never", "{}")))
        task = asyncio.ensure_future(collect(ToolLoop(model, ASKED, [never], approve=approve)))
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert model.clean

    run(main)
    assert seen == ["withdrawn"]
