"""The Python library: what reading a token costs, also in long answers, and how soon the upstream is closed.

The provider is the simulator, in a process of its own; it and the library write down CLOCK_MONOTONIC. The openai SDK
reads the same answers of the same simulator for comparison.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import openai

import tokenwire
from bench.figures import median, percentile
from bench.report import Section, number, pair

if TYPE_CHECKING:
    from bench.session import Session

_SHORT: Final = 10_000
_LONG: Final = 100_000
#: A try leaves between its first token and its fifth; the upstream writes one every so many milliseconds.
_GAP_MS: Final = 2.0
_LEFT_SECONDS: Final = 3.0

Read = Callable[[int], Awaitable[int]]


def _wishes(tokens: int, gap_ms: float = 0.0) -> dict[str, Any]:
    knobs = {"x-sim-tokens": str(tokens), "x-sim-ttft-ms": "0", "x-sim-interval-ms": str(gap_ms)}
    return {"metadata": knobs}


@contextmanager
def _simulator() -> Iterator[str]:
    """A simulator in a process of its own; its address."""
    command = [sys.executable, "-m", "tokenwire.simulator", "--port", "0", "--with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            found = re.search(rb"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0].decode()
        finally:
            process.terminate()


def _node(url: str) -> tokenwire.Node:
    return tokenwire.Node({"upstreams": {"up": {"base_url": f"{url}/v1", "api_key": "k", "proxy": "none"}}})


async def _costs(session: Session, section: Section, url: str) -> None:
    """CPU time per token of this process, and what an answer holds."""
    async with (
        _node(url) as node,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as sdk,
    ):

        async def ours(tokens: int) -> int:
            stream = tokenwire.stream("up/instant", "hi", request=_wishes(tokens), node=node)
            return sum([1 async for _ in stream.text_stream])

        async def theirs(tokens: int) -> int:
            answer: Any = await sdk.chat.completions.create(
                model="instant",
                messages=[{"role": "user", "content": "hi"}],
                stream=True,
                metadata=_wishes(tokens)["metadata"],
            )
            return sum([1 async for chunk in answer if chunk.choices and chunk.choices[0].delta.content])

        for name, read in (("tokenwire.stream", ours), ("openai SDK", theirs)):
            session.say(f"  {name}")
            await read(100)  # what is imported with the first answer
            found = {tokens: [await _cpu_us(read, tokens) for _ in range(session.rounds)] for tokens in (_SHORT, _LONG)}
            short, long = (median(found[tokens]) for tokens in (_SHORT, _LONG))
            held = await _held(read) if name == "tokenwire.stream" else None
            section.rows.append(
                [name, number(short, 1), number(long, 1), number(long / short if short and long else None), held or "–"]
            )
            section.data.append({"reader": name, "us_per_token": found, "held": held})


async def _cpu_us(read: Read, tokens: int) -> float:
    begun = time.process_time()
    assert await read(tokens) == tokens
    return (time.process_time() - begun) / tokens * 1e6


async def _held(read: Read) -> str:
    """The most memory that a long answer takes, in bytes per token (a token's text has about four)."""
    tracemalloc.start()
    try:
        await read(_LONG)
        return f"{tracemalloc.get_traced_memory()[1] / _LONG:.0f}"
    finally:
        tracemalloc.stop()


async def _leaving(session: Session, section: Section, url: str) -> None:
    """From the end of the ``async with`` in the reader's code to the provider's seeing it."""
    async with _node(url) as node, httpx.AsyncClient(trust_env=False) as http:
        delays: list[float] = []
        for turn in range(session.tries):
            before = (await http.get(f"{url}/stats")).json()["aborted"]
            async with tokenwire.stream("up/instant", "hi", request=_wishes(10_000, _GAP_MS), node=node) as stream:
                texts = stream.text_stream
                for _ in range(1 + turn % 5):
                    await anext(texts)
                left_ns = time.monotonic_ns()
            deadline = time.monotonic() + _LEFT_SECONDS
            while (stats := (await http.get(f"{url}/stats")).json())["aborted"] == before:
                assert time.monotonic() < deadline, "the upstream was never closed"
            delays.append((stats["last_abort_ns"] - left_ns) / 1e3)
        figures = pair(percentile(delays, 0.5), percentile(delays, 0.99))
        section.notes.append(
            f"Leaving the block in mid-stream: seen upstream after {figures} ms (p50 / p99 of {len(delays)} tries)."
        )
        section.data.append({"leaving_us": delays})


def run(session: Session) -> Section:
    section = Section(
        "library",
        "Reading an answer in Python: CPU us per token of the reader's process",
        ("", f"{_SHORT:,} tokens", f"{_LONG:,} tokens", "long / short", "peak bytes per token"),
        notes=[f"Medians of {session.rounds} rounds, asyncio's own loop. The text is about four bytes a token."],
    )

    async def measure(url: str) -> None:
        await _costs(session, section, url)
        await _leaving(session, section, url)

    with _simulator() as url:
        asyncio.run(measure(url))
    return section
