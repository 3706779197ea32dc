"""A store that is away under a running relay: readers lose nothing, wait for nothing, and all is made up for."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.lives import Lives
from tests.chaos.truth import Plan, text_of
from tests.chaos.world import pretended, replay, run

from tokenwire.testing.http_client import Answer, Client
from tokenwire.testing.ports import refusing_port

CONFIG = """
[store]
url = "sqlite://{folder}/tokenwire.db"
unstored_bytes = {unstored}
[upstreams.sim]
base_url = "{url}/v1"
"""
READERS = 20


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own at *folder*, of *size*. The test is skipped, by that name, where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@asynccontextmanager
async def relaying(tmp_path: Path, store: Path, *, unstored: int = 64 * 1024 * 1024) -> AsyncIterator[Lives]:
    """A relay that runs, with its store in *store*."""
    config = tmp_path / "tokenwire.toml"
    with refusing_port() as port:
        async with pretended() as model, Lives(config, tmp_path, port) as relay:
            config.write_text(CONFIG.format(url=model.url, folder=store, unstored=unstored))
            await relay.start()
            await until_ready(relay.port, "ready")  # the first such question makes the routes, which takes 0.1 s
            yield relay


class Reading:
    """A native reader of a stream of its own, and when its tokens came."""

    def __init__(self, plan: Plan, answer: Answer) -> None:
        self.plan = plan
        self.answer = answer
        self.stream = answer.fields["x-tokenwire-stream"]
        self.arrivals: list[float] = []

    @classmethod
    async def of(cls, port: int, plan: Plan) -> Reading:
        body = {"dialect": "openai.chat", "request": plan.body, "on_disconnect": "finish"}
        client = await Client.connect(port)
        started = await client.post("/v1/streams", body).whole()
        assert started.status == 201, bytes(started.body)
        return cls(plan, await client.get(started.json["events"]).head())

    async def watch(self) -> None:
        """Note each arrival, to the end."""
        had = 0
        loop = asyncio.get_running_loop()
        while not self.answer.over:
            await self._more(len(self.answer.body))
            now = self.answer.body.count(b"event: text")
            if now > had:
                self.arrivals.append(loop.time())
            had = now

    async def _more(self, than: int) -> None:
        await self.answer.until(lambda answer: answer.over or len(answer.body) > than)

    def longest_gap(self, begin: float, end: float) -> float:
        """Between two tokens, from *begin* to *end*."""
        times = [begin, *(each for each in self.arrivals if begin < each < end), end]
        return max(b - a for a, b in pairwise(times))


async def ask(port: int, path: str) -> Any:
    client = await Client.connect(port)
    answer = await client.get(path).whole()
    client.close()
    await client.gone()
    return answer.json


async def until_ready(port: int, *wanted: str) -> None:
    """Until /readyz says one of *wanted*."""
    async with asyncio.timeout(20):
        while (await ask(port, "/readyz"))["status"] not in wanted:
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.untraced
def test_a_full_disk_costs_no_reader_a_token(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        async with relaying(tmp_path, disk, unstored=16 * 1024) as relay:
            plans = [Plan("openai.chat", f"a poem {number}", 250, 10.0) for number in range(READERS)]
            readings = [await Reading.of(relay.port, plan) for plan in plans]
            async with asyncio.TaskGroup() as group:
                for reading in readings:
                    group.create_task(reading.watch())
                await readings[0].answer.until(lambda answer: "text" in answer.events)
                ballast = fill(disk)
                await until_ready(relay.port, "degraded", "full")
                await until_refused(relay.port, plans[0])
                await readings[0].answer.until(lambda answer: "degraded" in notices(answer))
                ballast.unlink()
                await until_ready(relay.port, "ready")
            for reading in readings:
                events = reading.answer
                assert events.native_text == reading.plan.text
                assert notices(events) == ["degraded", "recovered"]
            await Reading.of(relay.port, plans[0])
            await relay.end(signal.SIGKILL)
            await relay.start()
            client = await Client.connect(relay.port)
            for reading in readings:
                stored = await replay(client, reading.stream, "native")
                assert text_of("native", stored) == reading.plan.text
            client.close()
            await client.gone()

    with small_disk(tmp_path / "disk", "3m") as disk:
        run(lambda: main(disk), 60)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def notices(answer: Answer) -> list[str]:
    return [item["code"] for name, item in zip(answer.events, answer.data, strict=True) if name == "notice"]


async def until_refused(port: int, plan: Plan) -> None:
    """As much waits as may: no other stream begins, and it is said why."""
    body = {"dialect": "openai.chat", "request": plan.body, "on_disconnect": "cancel"}
    async with asyncio.timeout(10):
        while True:
            client = await Client.connect(port)
            answer = await client.post("/v1/streams", body).whole()
            client.close()
            await client.gone()
            if answer.status == 503:
                assert "store" in answer.json["error"]["message"]
                assert "retry-after" in answer.fields
                return
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.untraced
def test_a_stalled_store_delays_no_token(tmp_path: Path) -> None:
    """Another program holds the file's lock for five seconds: no reader waits for that."""
    stall = 5.0

    async def main() -> tuple[float, float]:
        async with relaying(tmp_path, tmp_path) as relay:
            plans = [Plan("openai.chat", f"a poem {number}", 480, 20.0) for number in range(READERS)]
            readings = [await Reading.of(relay.port, plan) for plan in plans]
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as group:
                for reading in readings:
                    group.create_task(reading.watch())
                await asyncio.sleep(0.3)  # begun, all of them
                begin = loop.time()
                await asyncio.sleep(1.0)
                locked = loop.time()
                with exclusive(tmp_path / "tokenwire.db"):
                    await until_ready(relay.port, "degraded", "full")
                    await asyncio.sleep(stall - (loop.time() - locked))
                released = loop.time()
                await until_ready(relay.port, "ready")
            for reading in readings:
                assert reading.answer.native_text == reading.plan.text
                assert notices(reading.answer) == ["degraded", "recovered"]
            before = max(reading.longest_gap(begin, locked) for reading in readings)
            during = max(reading.longest_gap(locked, released) for reading in readings)
            return before, during

    before, during = run(main, 60)
    print(
        f"longest gap between tokens: {before * 1000:.0f} ms before, {during * 1000:.0f} ms in a stall of {stall:g} s"
    )
    assert during < 0.9, "one wait of the store for an outsider's lock takes 1 s"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """The lock of the file, as another program takes it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
