"""One call of a tool: whatever happens, the model is told something it can use."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import datetime
import math
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from tokenwire.errors import ToolError
from tokenwire.library import tool_thread
from tokenwire.library.tool_run import CallRequest, Runner, text_of
from tokenwire.library.tools import Tool, ToolContext, tools_of
from tokenwire.testing.rig import run_in, settle, until

Main = Callable[[], Any]


def run(main: Main) -> Any:
    return run_in("asyncio", main)


def told(function: Any, arguments: str = "", **options: Any) -> tuple[str, bool]:
    """What the model is told of one call of *function*, and whether that is an error."""

    async def main() -> tuple[str, bool]:
        made = function if isinstance(function, Tool) else Tool(function)
        result = await Runner(tools_of([made]), **options).run("c1", made.name, arguments, block=3)
        assert (result.id, result.name, result.block) == ("c1", made.name, 3)
        return result.content, result.error

    found: tuple[str, bool] = run(main)
    return found


@dataclasses.dataclass
class Point:
    x: int


class Model(BaseModel):
    when: datetime.date


class Pair(msgspec.Struct):
    a: int
    b: list[str]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"), ("", ""), (None, "null"), (5, "5"), (True, "true"),
        ({"é": [1.5, None]}, '{"é":[1.5,null]}'),
        (Point(1), '{"x":1}'), (Model(when=datetime.date(2026, 1, 2)), '{"when":"2026-01-02"}'),
        ([Pair(1, ["x"])], '[{"a":1,"b":["x"]}]'), (math.inf, "null"), (b"\xff", '"_w=="'), ({1, }, "[1]"),
    ],
)  # fmt: skip
def test_results_are_texts_or_json(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_a_result_without_json_is_an_error_of_the_tool() -> None:
    def tool() -> Any:
        return threading.Lock()

    content, error = told(tool)
    assert error
    assert content.startswith("Error: the tool gave a lock, which has no JSON")


def test_sync_functions_run_in_a_thread_with_the_callers_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("ours")

    def where() -> str:
        return f"{threading.current_thread() is threading.main_thread()} {variable.get()}"

    async def here() -> str:
        return f"{threading.current_thread() is threading.main_thread()} {variable.get()}"

    def handed_on() -> Any:
        return here()

    assert told(where) == ("False ours", False)
    assert told(here) == ("True ours", False)
    assert told(handed_on) == ("True ours", False)


@pytest.mark.parametrize(
    ("raised", "content"),
    [
        (ValueError("no such city"), "Error: ValueError: no such city"), (KeyError(), "Error: KeyError"),
        (ToolError("Ask for a city."), "Error: Ask for a city."), (StopIteration(5), "Error: StopIteration: 5"),
        (TimeoutError("of its own"), "Error: TimeoutError: of its own"), (SystemExit(2), "Error: SystemExit: 2"),
        (asyncio.CancelledError(), "Error: CancelledError"),
    ],
)  # fmt: skip
def test_exceptions_are_told_without_a_traceback(raised: BaseException, content: str) -> None:
    def sync() -> None:
        raise raised

    async def other() -> None:
        if isinstance(raised, StopIteration):  # Python itself makes another of it
            raise ValueError("StopIteration") from None
        raise raised

    assert told(sync) == (content, True)
    if not isinstance(raised, StopIteration):
        assert told(other) == (content, True)


def test_a_call_that_cannot_run_is_told_why() -> None:
    def f(a: int) -> int:
        return a

    assert told(f, '{"a":1}') == ("1", False)
    assert told(f, '{"a":') == (
        "Error: the arguments are not valid JSON: Input data was truncated", True,
    )  # fmt: skip
    assert told(f, "{}") == ("Error: the arguments do not fit: a: Field required", True)

    async def unknown() -> Any:
        named = await Runner(tools_of([f])).run("c", "g", "{}")
        empty = await Runner({}).run("c", "g", "{}")
        return named.content, empty.content

    assert run(unknown) == (
        "Error: there is no tool 'g'; there are: f", "Error: there is no tool 'g'; there are: none",
    )  # fmt: skip


def test_an_async_tool_over_its_time_is_cancelled_and_awaited() -> None:
    seen: list[str] = []

    async def slow(context: ToolContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    assert told(slow, timeout=0.01) == ("Error: no result within 0.01 s: the call was stopped", True)
    assert seen == ["cleaned up"]
    assert told(Tool(slow, timeout=0.02), timeout=50) == ("Error: no result within 0.02 s: the call was stopped", True)


def test_a_thread_over_its_time_is_told_and_left_alone() -> None:
    left = threading.Event()

    def slow(context: ToolContext) -> str:
        assert context.cancelled.wait(5)
        left.set()
        return "too late"

    assert told(slow, timeout=0.01) == ("Error: no result within 0.01 s: the call was stopped", True)
    assert left.wait(5)  # its loop is closed by now: that is nobody's trouble


def test_a_thread_that_outlives_its_loop_is_nobodys_trouble() -> None:
    go, threads = threading.Event(), []

    def slow() -> None:
        threads.append(threading.current_thread())
        go.wait(5)

    assert told(slow, timeout=0.01)[1]
    go.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_exceptions_that_nobody_meant_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def tool(n: int) -> None:
        raise ToolError("meant") if n else ValueError("not meant")

    caplog.set_level("INFO", "tokenwire.library")
    assert (told(tool, '{"n":1}')[1], caplog.records) == (True, [])
    assert told(tool, '{"n":0}')[1]
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is ValueError


def test_no_limit_and_a_limit_that_is_not_reached() -> None:
    async def quick() -> str:
        await asyncio.sleep(0)
        return "x"

    assert told(quick, timeout=math.inf) == told(quick, timeout=5.0) == ("x", False)


def test_threads_are_bounded_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_thread, "_running", threading.BoundedSemaphore(1))
    go, begun = threading.Event(), threading.Event()

    def blocks() -> str:
        begun.set()
        go.wait(5)
        return "done"

    async def main() -> Any:
        runner = Runner(tools_of([blocks]))
        first = asyncio.ensure_future(runner.run("1", "blocks", ""))
        await until(begun.is_set)
        second = await runner.run("2", "blocks", "")
        go.set()
        return [(await first).content, second.content, (await runner.run("3", "blocks", "")).content]

    assert run(main) == ["done", "Error: this tool cannot run now: 64 others are still running", "done"]
    monkeypatch.setattr(threading.Thread, "start", _no_thread)
    assert told(blocks) == ("Error: RuntimeError: can't start new thread", True)


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_so_many_run_at_once_and_no_more() -> None:
    now = most = 0

    async def f() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await settle(3)
        now -= 1

    async def main() -> None:
        runner = Runner(tools_of([f]), parallel=2)
        await asyncio.gather(*(runner.run(str(n), "f", "") for n in range(7)))

    run(main)
    assert most == 2


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (True, "5"), (False, "Error: the user did not allow this call"),
        ("", "Error: the user did not allow this call"),
        ("too dear", "Error: the user did not allow this call: too dear"),
        (None, "Error: the user did not allow this call"), (1, "Error: the user did not allow this call"),
    ],
)  # fmt: skip
def test_the_hook_decides_before_a_tool_runs(answer: Any, content: str) -> None:
    ran: list[int] = []
    asked: list[CallRequest] = []

    def f(n: int) -> int:
        ran.append(n)
        return n

    async def later(request: CallRequest) -> Any:
        asked.append(request)
        await asyncio.sleep(0)
        return answer

    for approve in (lambda request: answer, later, lambda request: later(request)):
        assert told(f, '{"n":5}', approve=approve)[0] == content
    assert ran == ([5, 5, 5] if answer is True else [])
    assert (asked[0].id, asked[0].name, asked[0].arguments, asked[0].tool.name) == ("c1", "f", {"n": 5}, "f")


def test_a_question_that_is_withdrawn_is_a_refusal() -> None:
    def f() -> None: ...

    async def approve(request: CallRequest) -> bool:
        question = asyncio.get_running_loop().create_future()
        question.cancel()
        return bool(await question)

    refused = "Error: the user did not allow this call: the question was withdrawn"
    assert told(f, approve=approve) == (refused, True)


def test_waiting_to_be_allowed_is_not_the_tools_time_and_takes_no_place() -> None:
    async def main() -> Any:
        decided = asyncio.get_running_loop().create_future()

        async def f(n: int) -> int:
            return n

        async def approve(request: CallRequest) -> bool:
            return request.arguments == {"n": 2} or await decided

        runner = Runner(tools_of([f]), approve=approve, parallel=1, timeout=0.05)
        first = asyncio.ensure_future(runner.run("1", "f", '{"n":1}'))
        await settle()
        second = await runner.run("2", "f", '{"n":2}')
        await asyncio.wait([first], timeout=0.1)  # longer than the tool may take
        decided.set_result(True)
        return (await first).content, second.content

    assert run(main) == ("1", "2")


def test_a_plain_hook_may_block_and_is_asked_about_one_call_at_a_time() -> None:
    inside: list[int] = []
    most: list[int] = []
    free = threading.Event()

    def approve(request: CallRequest) -> bool:
        inside.append(threading.get_ident())
        most.append(len(inside))
        free.wait(5)
        inside.pop()
        return True

    async def main() -> Any:
        async def f(n: int) -> int:
            return n

        runner = Runner(tools_of([f]), approve=approve)
        calls = [asyncio.ensure_future(runner.run(str(n), "f", f'{{"n":{n}}}')) for n in (1, 2)]
        while not inside:
            await asyncio.sleep(0)  # the loop goes on
        assert inside[0] != threading.get_ident()
        left = asyncio.ensure_future(runner.run("3", "f", '{"n":3}'))
        await settle()
        left.cancel()  # nobody waits for a person who does not answer
        with pytest.raises(asyncio.CancelledError):
            await left
        free.set()
        return [(await call).content for call in calls]

    assert run(main) == ["1", "2"]
    assert most == [1, 1]


def test_what_the_hook_raises_is_the_programs_own_trouble() -> None:
    def f() -> None: ...

    def approve(request: CallRequest) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        told(f, approve=approve)


def test_a_cancelled_call_cancels_its_tool_and_tells_its_thread() -> None:
    contexts: list[ToolContext] = []
    begun = threading.Event()

    async def waits(context: ToolContext) -> None:
        contexts.append(context)
        await asyncio.Event().wait()

    def blocks(context: ToolContext) -> None:
        contexts.append(context)
        begun.set()
        context.cancelled.wait(5)

    async def main() -> None:
        runner = Runner(tools_of([waits, blocks]))
        tasks = [asyncio.ensure_future(runner.run("1", name, "")) for name in ("waits", "blocks")]
        await until(lambda: begun.is_set() and len(contexts) == 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    run(main)
    assert all(context.cancelled.is_set() for context in contexts)
