"""All of it is there for the process that comes after, and for whoever reads while another writes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tokenwire.errors import StoreFailed
from tokenwire.testing.store_contract.bench import Bench, piece

# ---------------------------------------------------------------------- another process


async def everything_is_there_after_a_restart(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 3))
    await bench.begin("st_b", piece(1), piece(2), running=False, head=b"b")
    for n in range(4, 40):
        await bench.write(bench.append("st_a", piece(n), expires=bench.wall.now + n))
    before = [await bench.store.head("st_a"), await bench.store.head("st_b")]
    stored = await bench.stored("st_a")
    await bench.restart()
    assert [await bench.store.head("st_a"), await bench.store.head("st_b")] == before
    assert await bench.stored("st_a") == stored
    assert await bench.stored("st_b") == [piece(1), piece(2)]
    await bench.conflict(bench.append("st_a", piece(41)), last=39)
    await bench.write(bench.append("st_a", piece(40)))
    assert await bench.stored("st_a") == [*stored, piece(40)]


async def what_was_running_is_orphaned_until_it_is_written_to(bench: Bench) -> None:
    for n in range(5):
        await bench.begin(f"st_{n}", piece(1), running=n != 2)
    assert await bench.store.orphans() == [], "its own streams are no orphans"
    await bench.restart()
    await bench.begin("st_new", piece(1))
    assert [head.stream for head in await bench.store.orphans()] == ["st_0", "st_1", "st_3", "st_4"]
    assert [head.stream for head in await bench.store.orphans(2)] == ["st_0", "st_1"]
    (first, *_) = await bench.store.orphans()
    assert first == await bench.store.head("st_0")
    await bench.write(bench.append("st_0", piece(2), running=False), bench.append("st_1", piece(2)))
    await bench.store.forget(["st_3"])
    assert [head.stream for head in await bench.store.orphans()] == ["st_4"]
    await bench.restart()
    assert [head.stream for head in await bench.store.orphans()] == ["st_1", "st_4", "st_new"]


async def open_and_close_may_be_repeated(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    assert await bench.store.open() is bench.store
    assert await bench.store.orphans() == [], "it was open all the time"
    await bench.store.close()
    await bench.store.close()
    for call in (bench.store.head("st_a"), bench.store.write([]), bench.store.sweep(0.0), bench.store.figures()):
        try:
            await call
        except StoreFailed:
            continue
        raise AssertionError("a store that is closed answered")
    await bench.store.open()
    assert await bench.stored("st_a") == [piece(1)]
    assert [head.stream for head in await bench.store.orphans()] == ["st_a"]


# ---------------------------------------------------------------------- at the same time


async def reads_beside_writes_see_whole_prefixes(bench: Bench) -> None:
    await bench.begin("st_a")
    over = False

    async def read() -> None:
        longest = 0
        while not over:
            before = await bench.store.head("st_a")
            pieces = await bench.store.pieces("st_a", 0, 1 << 30)
            after = await bench.store.head("st_a")
            assert pieces == [piece(n) for n in range(1, len(pieces) + 1)]
            assert before is not None
            assert after is not None
            assert longest <= before.last <= len(pieces) <= after.last
            longest = after.last
            await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        readers = [asyncio.create_task(read()) for _ in range(3)]
        stack.callback(lambda: [reader.cancel() for reader in readers])
        for n in range(1, 200):
            await bench.write(bench.append("st_a", piece(n), running=n % 10 > 0))
        over = True
        await asyncio.gather(*readers)
    assert len(await bench.stored("st_a")) == 199


async def a_write_that_was_cancelled_is_done_or_not(bench: Bench) -> None:
    await bench.begin("st_a")
    last = 0
    for n in range(1, 30):
        appends = [bench.append("st_a", piece(last + 1), piece(last + 2)), bench.append(f"st_{n}", piece(1), head=b"h")]
        task = asyncio.create_task(bench.store.write(appends))
        for _ in range(n % 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.write(bench.append("st_a"))  # writes are done in order: the cancelled one is, by now, if ever
        head = await bench.store.head("st_a")
        assert head is not None
        assert head.last in (last, last + 2)
        assert (await bench.store.head(f"st_{n}") is not None) == (head.last == last + 2)
        last = head.last
    assert await bench.stored("st_a") == [piece(n) for n in range(1, last + 1)]
