"""What has an end, notes and streams, is gone at its deadline, or as soon as it is forgotten."""

from __future__ import annotations

from tokenwire.engine.stores.port import TOMBSTONE_SECONDS, Note
from tokenwire.testing.store_contract.bench import ME, Bench, piece

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
