"""Every store of ours against the contract, and against the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tokenwire.engine.stores import sqlite_journal
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import Store
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.testing.inline_store import InlineSqliteStore
from tokenwire.testing.store_contract import RULES, Make, Rule, run_rule, run_schedule


@pytest.fixture(params=["memory", "sqlite", "inline"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "sqlite":
        return lambda wall: SqliteStore(tmp_path / "t.db", wall=wall)
    return _once(MemoryStore if request.param == "memory" else InlineSqliteStore)


def _once(kind: type[MemoryStore] | type[InlineSqliteStore]) -> Make:
    """What these keep lives as long as the object: the next process has the same one."""
    made: list[Store] = []

    def make(wall: Callable[[], float]) -> Store:
        if not made:
            made.append(kind(wall=wall))
        return made[0]

    return make


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_is_kept(rule: Rule, make: Make) -> None:
    run_rule(rule, make)


@pytest.mark.untraced
@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_calls_is_answered_as_by_the_model(seed: int, make: Make) -> None:
    run_schedule(make, seed)


class Crashing(InlineSqliteStore):
    """Its process is killed wherever another would close it."""

    async def close(self) -> None:
        self.crash()


#: 1178: what began anew was lost; 110 and 3847: what was swept came back.
@pytest.mark.untraced
@pytest.mark.parametrize("seed", [*range(100, 140), 1178, 3847])
def test_any_order_of_calls_and_kills_is_answered_as_by_the_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_journal, "JOURNAL_BYTES", (3_000, 30_000, 8 << 20)[seed % 3])
    monkeypatch.setattr(sqlite_journal, "TAIL_SHARE", 0)
    monkeypatch.setattr(sqlite_journal, "_ENDED", (3, 32)[seed % 2])
    run_schedule(_once(Crashing), seed, steps=150)
