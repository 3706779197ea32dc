"""What every store has to do, for the tests of any: ours, and one of your own.

A store's author writes a function that makes it, and asks for every rule by name::

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_my_store(rule, tmp_path):
        run_rule(rule, lambda wall: MyStore(tmp_path / "streams", wall=wall))

    @pytest.mark.parametrize("seed", range(50))
    def test_my_store_in_any_order(seed, tmp_path):
        run_schedule(lambda wall: MyStore(tmp_path / "streams", wall=wall), seed)

The function is called again within a rule, for the process that comes after the one that closed the store: what it
returns then has the same data. Nothing here needs pytest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

from tokenwire.engine.stores.port import TOMBSTONE_SECONDS, Append, Head, Note, Piece, Store
from tokenwire.errors import BadArgument, StoreConflict, StoreFailed
from tokenwire.testing.store_schedules import Wall, play

#: Makes a store, not open yet; the argument tells it the time, seconds since 1970.
Make: TypeAlias = Callable[[Callable[[], float]], Store]

ME: Final = "someone"


class Bench:
    """A store at work, and the clock that it goes by.

    Attributes:
        store: open.
        wall: its clock; ``wall.now`` may be set.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self.wall = Wall()
        self.store = make(self.wall)

    async def __aenter__(self) -> Bench:
        assert await self.store.open() is self.store, "open() returns the store"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    async def restart(self) -> None:
        """Close the store; open one on the same data, as another process would."""
        await self.store.close()
        self.store = self._make(self.wall)
        await self.store.open()

    async def write(self, *appends: Append, notes: Sequence[Note] = ()) -> None:
        await self.store.write(appends, notes)

    async def begin(self, stream: str, *pieces: Piece, **more: object) -> None:
        """The first write of a stream that expires in an hour."""
        await self.write(self.append(stream, *pieces, **{"head": b"head", **more}))

    def append(self, stream: str, *pieces: Piece, **more: object) -> Append:
        """An append of ``ME``'s stream that expires in an hour, unless told otherwise."""
        return Append(stream=stream, pieces=pieces, **{"owner": ME, "expires": self.wall.now + 3600, **more})  # type: ignore[arg-type]

    async def stored(self, stream: str) -> list[Piece]:
        """All pieces, page by page, each page as small as can be."""
        found: list[Piece] = []
        after = 0
        while page := await self.store.pieces(stream, after, 1):
            assert len(page) == 1, "a page of one byte is one piece"
            found += page
            after = page[-1].first + page[-1].entries - 1
        assert found == await self.store.pieces(stream, 0, 1 << 30), "pages and the whole are the same"
        return found

    async def conflict(self, *appends: Append, last: int = 0, notes: Sequence[Note] = ()) -> None:
        """See that *appends* are refused, with the newest entry stored."""
        told = None
        try:
            await self.store.write(appends, notes)
        except StoreConflict as error:
            told = error.last
        assert told is not None, "the write was not refused"
        assert told == last, f"the conflict tells entry {told}, and {last} is stored"


Rule: TypeAlias = Callable[[Bench], Awaitable[None]]


def run_rule(rule: Rule, make: Make) -> None:
    """Hold *rule* against a store. Raises ``AssertionError`` where it is broken."""

    async def run() -> None:
        async with Bench(make) as bench:
            await rule(bench)

    asyncio.run(run())


def run_schedule(make: Make, seed: int, steps: int = 60) -> None:
    """Play *steps* writes, reads, restarts and clock jumps, chosen by *seed*, on a store and on ``MemoryStore``, and
    compare all that they answer. Raises ``AssertionError`` that tells the steps, where they differ."""
    wall = Wall()
    asyncio.run(play(lambda: make(wall), wall, seed, steps))


def piece(first: int, entries: int = 1, text: str = "x") -> Piece:
    """A piece whose bytes tell where it belongs."""
    return Piece(first, entries, f"{text}{first}+{entries}".encode())


# ---------------------------------------------------------------------- what is written is there


async def what_was_written_is_read(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 3), piece(4), head=b"the head")
    assert await bench.stored("st_a") == [piece(1, 3), piece(4)]
    size = len(piece(1, 3).data) + len(piece(4).data)
    head = Head("st_a", ME, b"the head", 1, 4, size, True, bench.wall.now + 3600)
    assert await bench.store.head("st_a") == head
    await bench.write(bench.append("st_a", piece(5, 2), running=False, head=b"another", expires=bench.wall.now + 7))
    assert await bench.stored("st_a") == [piece(1, 3), piece(4), piece(5, 2)]
    size += len(piece(5, 2).data)
    assert await bench.store.head("st_a") == Head("st_a", ME, b"another", 1, 6, size, False, bench.wall.now + 7)


async def a_head_that_is_not_told_stays(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), head=b"first")
    await bench.write(bench.append("st_a", piece(2)))
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.data, head.last) == (b"first", 2)


async def a_stream_may_begin_without_entries(bench: Bench) -> None:
    await bench.begin("st_a")
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.first, head.last, head.size) == (1, 0, 0)
    assert await bench.stored("st_a") == []
    await bench.write(bench.append("st_a", piece(1)))
    assert await bench.stored("st_a") == [piece(1)]


async def any_bytes_are_kept(bench: Bench) -> None:
    pieces = [Piece(1, 1, bytes(range(256))), Piece(2, 1, b"\0" * 300_000), Piece(3, 2, b"\r\n\xff")]
    await bench.begin("st_a", *pieces, head=bytes(range(256)))
    await bench.restart()
    assert await bench.stored("st_a") == pieces
    head = await bench.store.head("st_a")
    assert head is not None
    assert head.data == bytes(range(256))


async def what_is_unknown_is_nothing(bench: Bench) -> None:
    assert await bench.store.head("st_none") is None
    assert await bench.store.pieces("st_none") == []
    assert await bench.store.recall("kind", ME, "none") is None
    assert await bench.store.heads("nobody") == []
    assert await bench.store.orphans() == []
    await bench.store.forget(["st_none"])
    assert await bench.store.sweep(bench.wall.now) == 0
    figures = await bench.store.figures()
    assert figures[:5] == (0, 0, 0, 0, 0)


async def many_streams_are_one_write(bench: Bench) -> None:
    await bench.write(*(bench.append(f"st_{n}", piece(1, n + 1), head=b"h") for n in range(100)))
    await bench.write(*(bench.append(f"st_{n}", piece(n + 2)) for n in range(100)))
    for n in (0, 1, 50, 99):
        assert await bench.stored(f"st_{n}") == [piece(1, n + 1), piece(n + 2)]


async def a_stream_may_be_in_one_write_twice(bench: Bench) -> None:
    await bench.write(bench.append("st_a", piece(1), head=b"h"), bench.append("st_a", piece(2), piece(3), head=b"i"))
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.data, head.last) == (b"i", 3)
    await bench.conflict(bench.append("st_a", piece(4)), bench.append("st_a", piece(6)), last=4)
    assert await bench.stored("st_a") == [piece(1), piece(2), piece(3)]


# ---------------------------------------------------------------------- pages


async def pages_begin_with_the_piece_that_holds_the_entry(bench: Bench) -> None:
    pieces = [piece(1, 4), piece(5), piece(6, 10)]
    await bench.begin("st_a", *pieces)
    for ended in (False, True):
        if ended:
            await bench.write(bench.append("st_a", running=False))
        for after, index in ((0, 0), (3, 0), (4, 1), (5, 2), (14, 2), (15, 3), (16, 3), (10**15, 3), (-1, 0)):
            assert await bench.store.pieces("st_a", after) == pieces[index:], f"after {after}, ended: {ended}"


async def a_page_ends_when_its_limit_is_reached(bench: Bench) -> None:
    pieces = [Piece(n, 1, b"0123456789") for n in range(1, 21)]
    await bench.begin("st_a", *pieces)
    for ended in (False, True):
        if ended:
            await bench.write(bench.append("st_a", running=False))
        assert await bench.store.pieces("st_a", 0, 30) == pieces[:3]
        assert 3 <= len(await bench.store.pieces("st_a", 0, 31)) <= 4
        assert await bench.store.pieces("st_a", 5, 0) == pieces[5:6], "at least one"


# ---------------------------------------------------------------------- fences


async def a_gap_is_a_conflict(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5))
    await bench.conflict(bench.append("st_a", piece(7)), last=5)
    await bench.conflict(bench.append("st_a", piece(6), piece(8)), last=6)
    assert await bench.stored("st_a") == [piece(1, 5)]


async def a_piece_that_is_known_in_part_is_a_conflict(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5))
    await bench.conflict(bench.append("st_a", piece(4, 3)), last=5)
    await bench.conflict(bench.append("st_a", piece(1, 6)), last=5)


async def a_stream_begins_with_a_head_and_entry_1(bench: Bench) -> None:
    await bench.conflict(bench.append("st_a", piece(1)))
    await bench.conflict(bench.append("st_a", piece(2), head=b"h"))
    await bench.conflict(bench.append("st_a"))
    assert await bench.store.head("st_a") is None


async def a_repeat_is_accepted_and_changes_nothing(bench: Bench) -> None:
    first = bench.append("st_a", piece(1, 5), piece(6), head=b"h")
    second = bench.append("st_a", piece(7), piece(8))
    for append in (first, first, second, second, second._replace(pieces=(*second.pieces, piece(9)))):
        await bench.write(append)
    assert await bench.stored("st_a") == [piece(1, 5), piece(6), piece(7), piece(8), piece(9)]
    last = bench.append("st_a", piece(10), running=False)
    for _ in range(3):
        await bench.write(last)
    assert await bench.stored("st_a") == [piece(1, 5), piece(6), piece(7), piece(8), piece(9), piece(10)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.last, head.running) == (10, False)


async def a_write_is_all_or_nothing(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    await bench.begin("st_b", piece(1))
    note = Note("kind", ME, "key", b"value", bench.wall.now + 10)
    await bench.conflict(
        bench.append("st_a", piece(2), head=b"new"),
        bench.append("st_c", piece(1), head=b"h"),
        bench.append("st_b", piece(3)),
        last=1,
        notes=[note],
    )
    assert await bench.stored("st_a") == [piece(1)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert head.data == b"head"
    assert await bench.store.head("st_c") is None
    assert await bench.store.recall("kind", ME, "key") is None
    await bench.write(bench.append("st_a", piece(2)), bench.append("st_c", piece(1), head=b"h"))
    assert await bench.stored("st_a") == [piece(1), piece(2)]


async def an_owner_never_changes(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    await bench.conflict(bench.append("st_a", piece(2), owner="another"), last=1)
    assert await bench.stored("st_a") == [piece(1)]


async def an_ended_stream_may_be_added_to(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), running=False)
    await bench.write(bench.append("st_a", piece(2), running=False, head=b"late"))
    await bench.restart()
    await bench.write(bench.append("st_a", piece(3), running=True))
    await bench.write(bench.append("st_a", piece(4), running=False))
    assert await bench.stored("st_a") == [piece(n) for n in (1, 2, 3, 4)]


# ---------------------------------------------------------------------- a new beginning


async def a_restart_forgets_what_was_before(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5), piece(6))
    again = bench.append("st_a", piece(50, 2, "new"), piece(52), restart=True)
    for _ in range(2):  # the answer of the first was lost
        await bench.write(again)
        assert await bench.stored("st_a") == [piece(50, 2, "new"), piece(52)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.first, head.last, head.data) == (50, 52, b"head")
    assert head.size == sum(len(each.data) for each in again.pieces)
    await bench.write(bench.append("st_a", piece(53), running=False))
    await bench.restart()
    assert await bench.stored("st_a") == [piece(50, 2, "new"), piece(52), piece(53)]
    assert await bench.store.pieces("st_a", 10) == await bench.stored("st_a")


async def a_restart_may_go_back(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), piece(2), piece(3), piece(4))
    await bench.write(bench.append("st_a", piece(3, 2, "new"), restart=True))
    assert await bench.stored("st_a") == [piece(3, 2, "new")]
    await bench.write(bench.append("st_a", piece(5)))
    await bench.restart()
    assert await bench.stored("st_a") == [piece(3, 2, "new"), piece(5)]


async def a_restart_may_be_the_beginning(bench: Bench) -> None:
    await bench.begin("st_a", piece(9), restart=True)
    assert await bench.stored("st_a") == [piece(9)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.first, head.last) == (9, 9)


async def a_restart_says_where(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    for pieces in ((), (piece(0),)):
        try:
            await bench.write(bench.append("st_a", *pieces, restart=True))
        except BadArgument:
            continue
        raise AssertionError("a restart without a first entry was accepted")
    assert await bench.stored("st_a") == [piece(1)]


# ---------------------------------------------------------------------- listing


async def an_owners_streams_are_listed_the_newest_last(bench: Bench) -> None:
    for n in range(6):
        await bench.begin(f"st_{n}", piece(1), owner="other" if n == 3 else ME)
    await bench.write(bench.append("st_0", piece(2)))
    assert [head.stream for head in await bench.store.heads(ME)] == ["st_0", "st_1", "st_2", "st_4", "st_5"]
    assert [head.stream for head in await bench.store.heads(ME, 2)] == ["st_4", "st_5"]
    assert await bench.store.heads(ME, 0) == []
    (first, *_) = await bench.store.heads(ME)
    assert first == await bench.store.head("st_0")


async def figures_count_what_is_kept(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5))
    await bench.begin("st_b", piece(1), running=False)
    await bench.begin("st_c", expires=bench.wall.now - 1)
    await bench.write(bench.append("st_a", piece(6)), notes=[Note("k", ME, "n", b"v", bench.wall.now + 1)])
    size = sum(len(each.data) for each in (piece(1, 5), piece(1), piece(6)))
    figures = await bench.store.figures()
    assert figures[:5] == (2, 1, 7, size, 1)
    await bench.restart()
    assert (await bench.store.figures())[:5] == (2, 1, 7, size, 1)


# ---------------------------------------------------------------------- notes


async def notes_are_recalled_until_they_expire(bench: Bench) -> None:
    now = bench.wall.now
    notes = [
        Note("k", ME, "a", b"1", now + 10),
        Note("k", ME, "b", b"\0", now + 20),
        Note("l", ME, "a", b"2", now + 20),
    ]
    await bench.write(notes=notes)
    await bench.restart()
    assert await bench.store.recall("k", ME, "a") == b"1"
    assert await bench.store.recall("k", "another", "a") is None
    assert await bench.store.recall("l", ME, "a") == b"2"
    await bench.write(notes=[Note("k", ME, "b", b"new", now + 30), Note("l", ME, "a", None, now + 30)])
    assert await bench.store.recall("k", ME, "b") == b"new"
    assert await bench.store.recall("l", ME, "a") is None
    bench.wall.now = now + 10
    assert await bench.store.recall("k", ME, "a") is None, "its deadline has come"
    assert await bench.store.recall("k", ME, "b") == b"new"
    assert await bench.store.sweep(bench.wall.now) == 1
    assert await bench.store.sweep(bench.wall.now) == 0


# ---------------------------------------------------------------------- the end of a stream's time


async def what_is_past_its_deadline_is_not_shown(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), expires=bench.wall.now + 10)
    await bench.begin("st_b", piece(1), expires=bench.wall.now + 20)
    bench.wall.now += 10
    assert await bench.store.head("st_a") is None
    assert await bench.store.pieces("st_a") == []
    assert [head.stream for head in await bench.store.heads(ME)] == ["st_b"]
    assert (await bench.store.figures()).streams == 1
    await bench.restart()
    assert [head.stream for head in await bench.store.orphans()] == ["st_b"]
    await bench.conflict(bench.append("st_a", piece(2), expires=bench.wall.now + 99))


async def the_last_deadline_told_counts(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), expires=bench.wall.now + 10)
    await bench.begin("st_b", piece(1), expires=bench.wall.now + 99)
    await bench.write(bench.append("st_a", piece(2), expires=bench.wall.now + 50))
    await bench.write(bench.append("st_b", expires=bench.wall.now + 5))
    bench.wall.now += 20
    assert await bench.store.sweep(bench.wall.now) == 1
    assert await bench.store.sweep(bench.wall.now) == 0
    await bench.restart()
    assert await bench.stored("st_a") == [piece(1), piece(2)]
    assert await bench.store.head("st_b") is None


async def a_sweep_forgets_in_portions_what_has_expired(bench: Bench) -> None:
    await bench.write(*(bench.append(f"st_{n}", piece(1), head=b"h", expires=bench.wall.now + n) for n in range(300)))
    bench.wall.now += 199
    swept = 0
    while gone := await bench.store.sweep(bench.wall.now):
        swept += gone
    assert swept == 200
    figures = await bench.store.figures()
    assert (figures.streams, figures.entries) == (100, 100)
    assert await bench.stored("st_200") == [piece(1)]
    await bench.conflict(bench.append("st_7", piece(1), head=b"h"))


# ---------------------------------------------------------------------- forgetting


async def what_is_forgotten_is_gone(bench: Bench) -> None:
    for stream in ("st_a", "st_b", "st_c"):
        await bench.begin(stream, piece(1, 3), running=stream != "st_b")
    await bench.store.forget(["st_a", "st_b", "st_unknown", "st_a"])
    for stream in ("st_a", "st_b"):
        assert await bench.store.head(stream) is None
        assert await bench.store.pieces(stream) == []
    assert [head.stream for head in await bench.store.heads(ME)] == ["st_c"]
    await bench.write(bench.append("st_c", piece(4)))
    await bench.restart()
    assert [head.stream for head in await bench.store.orphans()] == ["st_c"]
    assert await bench.stored("st_c") == [piece(1, 3), piece(4)]
    assert (await bench.store.figures()).streams == 1


async def a_forgotten_id_is_not_begun_again(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 3))
    await bench.store.forget(["st_a"])
    for _ in range(2):
        await bench.conflict(bench.append("st_a", piece(4)))
        await bench.conflict(bench.append("st_a", piece(1, 3), head=b"h"))
        await bench.conflict(bench.append("st_a", piece(9), head=b"h", restart=True))
        assert await bench.store.sweep(bench.wall.now) == 0
        await bench.restart()
    bench.wall.now += TOMBSTONE_SECONDS
    assert await bench.store.sweep(bench.wall.now) == 0, "an id that is remembered as gone is nothing that is kept"
    await bench.begin("st_a", piece(1))
    assert await bench.stored("st_a") == [piece(1)]


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


#: Every rule, in the order of ``tokenwire.engine.stores.port``.
RULES: Final[tuple[Rule, ...]] = (
    what_was_written_is_read,
    a_head_that_is_not_told_stays,
    a_stream_may_begin_without_entries,
    any_bytes_are_kept,
    what_is_unknown_is_nothing,
    many_streams_are_one_write,
    a_stream_may_be_in_one_write_twice,
    pages_begin_with_the_piece_that_holds_the_entry,
    a_page_ends_when_its_limit_is_reached,
    a_gap_is_a_conflict,
    a_piece_that_is_known_in_part_is_a_conflict,
    a_stream_begins_with_a_head_and_entry_1,
    a_repeat_is_accepted_and_changes_nothing,
    a_write_is_all_or_nothing,
    an_owner_never_changes,
    an_ended_stream_may_be_added_to,
    a_restart_forgets_what_was_before,
    a_restart_may_go_back,
    a_restart_may_be_the_beginning,
    a_restart_says_where,
    an_owners_streams_are_listed_the_newest_last,
    figures_count_what_is_kept,
    notes_are_recalled_until_they_expire,
    what_is_past_its_deadline_is_not_shown,
    the_last_deadline_told_counts,
    a_sweep_forgets_in_portions_what_has_expired,
    what_is_forgotten_is_gone,
    a_forgotten_id_is_not_begun_again,
    everything_is_there_after_a_restart,
    what_was_running_is_orphaned_until_it_is_written_to,
    open_and_close_may_be_repeated,
    reads_beside_writes_see_whole_prefixes,
    a_write_that_was_cancelled_is_done_or_not,
)
