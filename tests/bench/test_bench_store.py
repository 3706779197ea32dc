"""The bench of the store plays what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.session import Session
from bench.toolchain import Programs

from bench import store


def test_the_agenda_is_fifty_tokens_a_second_of_each_stream() -> None:
    work = store.agenda(4.0, streams=20)
    assert work.tokens == sum(piece.entries for _, appends in work.writes for each in appends for piece in each.pieces)
    assert abs(work.tokens / (4.0 * 20) - 50) < 5
    assert [at for at, _ in work.writes] == sorted(at for at, _ in work.writes)
    ends = [each for _, appends in work.writes for each in appends if not each.running]
    assert len(ends) == 4.0 / store.LIFE * 20 - 1


def test_figures_are_those_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    work = store.agenda(0.3, streams=10)
    monkeypatch.setattr(store, "agenda", lambda seconds: work)
    monkeypatch.setattr(store, "LEFT", {30: 2})
    section = store.run(Session(programs=Programs.__new__(Programs), relays=[], rounds=1, quick=True))
    ((name, cpu, waits, disk),) = section.rows
    assert name == "writing"
    assert float(cpu) > 0
    assert " / " in waits
    assert float(disk) > store.ENTRY_BYTES
    assert "left 30 streams" in section.notes[-1]
    json.dumps(section.data, allow_nan=False)


def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    size = store.leave_behind(tmp_path / "t.db", 50, 3)
    assert size > 50 * 3 * 144
    with store.uvloop_runner() as runner:
        assert runner.run(store.opened(tmp_path / "t.db", 50)) > 0
