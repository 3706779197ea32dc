"""bench/library: the scenario runs, and reports what it says it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.session import Session
from bench.toolchain import Programs

from bench import library


@pytest.mark.slow
def test_the_scenario_reports_both_readers_and_the_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_SHORT", 50)
    monkeypatch.setattr(library, "_LONG", 100)
    nowhere = Path("nowhere")
    programs = Programs(**dict.fromkeys(Programs.__annotations__, nowhere))
    session = Session(programs=programs, relays=[], rounds=1, tries=4, quick=True, dialect="chat")
    section = library.run(session)
    assert [row[0] for row in section.rows] == ["tokenwire.stream", "openai SDK"]
    assert all(float(row[1]) > 0 and float(row[2]) > 0 for row in section.rows)
    assert len(section.data[-1]["leaving_us"]) == 4
    assert all(delay > 0 for delay in section.data[-1]["leaving_us"])
