"""The library without ``await``: the same stream, run by a thread's loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from tests.library.conftest import paced

import tokenwire
from tokenwire.dialects.deltas import TextDelta
from tokenwire.errors import AnswerCut, LocalProtocolError
from tokenwire.library.sync import Background, background
from tokenwire.testing.rig import until


@pytest.fixture(scope="module", autouse=True)
def thread() -> Iterator[None]:
    """The thread is ended here, not at exit: whatever it leaves behind would be an error of nobody's test."""
    yield
    background().close()


def test_three_lines_print_an_answer() -> None:
    stream = tokenwire.stream("sim/gpt-4o", "hi", request=paced(20))
    with stream as plain:
        deltas = list(plain)
    assert sum(isinstance(delta, TextDelta) for delta in deltas) == 20
    pieces = list(tokenwire.stream("sim/gpt-4o", "hi", request=paced(20)).text_stream)
    assert len(pieces) == 20
    for delta in tokenwire.stream("sim/gpt-4o", "hi", request=paced(2)):
        assert delta is not None
    answer = tokenwire.stream("sim/gpt-4o", "hi", request=paced(20, seed=4)).sync()
    assert answer.text() == answer.answer.text
    assert answer.usage is not None
    assert answer.usage.output == 20
    assert answer.timing.events == 20
    assert answer.cost_usd is None
    assert answer.id is not None
    assert list(answer) == []


def test_a_failure_comes_after_all_that_came_before_it() -> None:
    stream = tokenwire.stream("sim/gpt-4o", "hi", request=paced(9, fault="cut:4")).sync()
    pieces: list[str] = []
    with pytest.raises(AnswerCut):
        pieces.extend(stream.text_stream)
    assert len(pieces) == 4
    assert stream.answer.text == "".join(pieces)
    assert list(stream) == []


def test_leaving_the_block_and_leaving_the_loop_stop_the_upstream() -> None:
    loop = background()
    node = tokenwire.Node()

    async def running() -> int:
        return node.core.hub.statistics().running

    with tokenwire.stream("sim/gpt-4o", "hi", request=paced(10_000, 1), node=node) as stream:
        next(stream.text_stream)
        assert loop.run(running()) == 1
    assert loop.run(running()) == 0
    for _ in tokenwire.stream("sim/gpt-4o", "hi", request=paced(10_000, 1), node=node).text_stream:
        break
    gc.collect()
    assert loop.run(running()) == 0
    loop.run(node.close())


def test_a_stream_that_another_thread_lets_go_of_is_stopped_in_its_own() -> None:
    async def main() -> None:
        node = tokenwire.Node()
        held = [tokenwire.stream("sim/gpt-4o", "hi", request=paced(10_000, 1), node=node)]
        await anext(held[0])
        await asyncio.to_thread(held.clear)
        await until(lambda: node.core.hub.statistics().running == 0)
        await node.close()
        node.keep(asyncio.sleep(0))  # too late: nothing is left behind

    asyncio.run(main())


def test_a_sync_stream_in_the_librarys_own_thread_is_refused_and_not_waited_for() -> None:
    @tokenwire.tool(name="weather")
    async def asks(city: str) -> str:
        """Asks another model, the wrong way."""
        return tokenwire.stream("sim/gpt-4o", "hi", request=paced(2)).sync().text()

    stream = tokenwire.stream("sim/gpt-4o", "weather in Paris?", tools=[asks], request=paced()).sync()
    assert stream.text()
    [result] = [message for message in stream.answer.messages if message["role"] == "tool"]
    assert "async for" in result["content"]


def test_values_begin_where_reading_stopped() -> None:
    stream = tokenwire.stream("sim/echo", '{"a": "some words of text"}', request=paced()).sync()
    for _ in range(4):
        next(stream)
    assert stream.ahead
    assert list(stream.partial())[-1] == {"a": "some words of text"}


def test_the_same_stream_twice_is_one_stream_and_a_failure_is_not_forgotten() -> None:
    stream = tokenwire.stream("sim/gpt-4o", "hi", request=paced(5))
    assert stream.sync() is stream.sync()
    assert len(list(stream.text_stream)) == 5
    assert list(stream.text_stream) == []
    cut = tokenwire.stream("sim/gpt-4o", "hi", request=paced(9, fault="cut:4")).sync()
    with pytest.raises(AnswerCut):
        list(cut)
    with pytest.raises(AnswerCut):
        cut.final()


@pytest.mark.slow
def test_a_forked_child_leaves_its_parents_stream_alone() -> None:
    program = (
        "import os, tokenwire\n"
        "with tokenwire.stream('sim/gpt-4o', 'hi') as stream:\n"
        "    next(stream.text_stream)\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            list(stream)\n"
        "        except tokenwire.errors.LocalProtocolError as error:\n"
        "            print('forked' in str(error), flush=True)\n"
        "    else:\n"
        "        os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n"


def test_a_stream_begun_in_a_loop_is_not_read_without_it() -> None:
    async def main() -> None:
        stream = tokenwire.stream("sim/gpt-4o", "hi", request=paced(5))
        await anext(stream)
        with pytest.raises(LocalProtocolError, match="async for"):
            stream.sync()
        await stream.close()

    asyncio.run(main())


def test_threads_read_side_by_side() -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: texts.append(tokenwire.stream("sim/gpt-4o", "hi", request=paced(50, seed=1)).sync().text())
        )
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(texts) == 8
    assert len(set(texts)) == 1


def test_an_interrupt_stops_the_wait_and_the_stream_goes_on() -> None:
    loop = background()
    started, ended = threading.Event(), threading.Event()

    async def forever_waiting() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    def interrupt() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(forever_waiting())

    assert ended.wait(5)


def test_the_thread_ends_what_runs_when_it_ends() -> None:
    loop = Background()
    seen: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("cancelled")

    async def begin() -> None:
        loop.kept = asyncio.get_running_loop().create_task(endless())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    loop.run(begin())
    loop.close()
    loop.close()
    loop.soon(lambda: seen.append("never"))
    assert seen == ["cancelled"]


@pytest.mark.slow
def test_a_program_of_three_lines_ends_without_a_complaint() -> None:
    program = (
        "import tokenwire\n"
        "for text in tokenwire.stream('sim/gpt-4o', 'hi').text_stream:\n"
        "    print(text, end='')\n"
        "if __import__('os').fork() == 0:\n"
        "    print(tokenwire.stream('sim/instant', 'hi').sync().text())\n"
        "else:\n"
        "    __import__('os').wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.split()) > 20
    assert "Error" not in done.stderr
    assert "Warning" not in done.stderr
