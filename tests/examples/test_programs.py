"""The examples that run in a terminal: what their readers see."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.examples.conftest import EXAMPLES, Load


def test_reads_are_not_events_and_are_decoded_all_the_same(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(load("raw_httpx/main.py").main("gpt-4o-mini"))
    printed = capsys.readouterr().out
    told = re.search(r"^(\d+) reads, (\d+) of which end within an event; (\d+) events:\n\n(.*)", printed, re.MULTILINE)
    assert told is not None
    reads, within, events = map(int, told.groups()[:3])
    assert reads > events == 15  # the role, 12 tokens, the reason, and the end
    assert 0 < within < reads
    assert told[4].startswith("Hello!")
    assert len(re.findall(r"^ *\+[\d.]+ ms +\d+ bytes  b", printed, re.MULTILINE)) == reads


def test_models_are_compared_and_one_that_fails_stops_no_other(load: Load) -> None:
    screen = Console(file=io.StringIO(), width=160)
    compared = load("compare_models/main.py")
    asyncio.run(compared.main(("sim/gpt-4o-mini", "sim/gemini-2.0-flash", "nobody/x"), screen))
    assert isinstance(screen.file, io.StringIO)
    rows = {
        row[0]: row[1:] for row in re.findall(r"│ (\S+) +│ (\S+) +│ (.*?) +│ (.*?) +│ (.*?) +│", screen.file.getvalue())
    }
    for model in ("sim/gpt-4o-mini", "sim/gemini-2.0-flash"):
        state, ttft, pace, tokens = rows[model]
        assert (state, ttft.endswith(" ms"), int(pace) > 50, tokens) == ("done", True, True, "100")
    assert rows["nobody/x"] == ("UnknownModel", "", "", "")


def test_a_recipe_grows_until_it_is_whole(load: Load) -> None:
    screen = Console(file=io.StringIO(), width=80, force_terminal=True)
    example = load("structured/main.py")
    recipe = example.main("sim/gpt-4o-mini", "Bread", screen)
    assert type(recipe) is example.Recipe
    assert isinstance(recipe.minutes, int)
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert "…" in shown
    assert recipe.ingredients[-1].name in shown


def test_tools_run_side_by_side_fail_and_are_asked_about(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = load("tools/main.py")
    asked: list[str] = []

    def refuse(question: str) -> str:
        asked.append(question)
        return "n"

    monkeypatch.setattr("builtins.input", refuse)
    asyncio.run(example.main("sim/gpt-4o-mini", example.QUESTIONS))
    first, _, second = capsys.readouterr().out.partition("> Remind")
    assert [mark for mark in first if mark in "✓✗"] == ["✓", "✓", "✗"]
    assert "LookupError: there is no weather station in Atlantis" in first
    assert first.index("… get_weather") < first.rindex("… get_weather") < first.index("✓")  # none waited for another
    assert re.findall(r"\d+ turns", first + second) == ["2 turns", "2 turns"]
    assert len(asked) == 1
    assert "remind run with {'person'" in asked[0]
    assert "the user did not allow this call" in second


@pytest.mark.slow
def test_each_program_starts_as_its_reader_starts_it() -> None:
    started = {}
    for name, model in (("raw_httpx", "instant"), ("compare_models", "nobody/x"), ("structured", "x"), ("tools", "x")):
        command = [sys.executable, "-W", "error", "main.py", model]
        started[name] = subprocess.Popen(
            command, cwd=EXAMPLES / name, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
    told = {name: b"".join(process.communicate(timeout=60)).decode() for name, process in started.items()}
    assert "15 events" in told["raw_httpx"]
    assert "UnknownModel" in told["compare_models"]
    for name in ("structured", "tools"):  # a typed error, and the last line says what is wrong
        assert re.fullmatch(r"tokenwire\.errors\.\w+: .+", told[name].splitlines()[-1]), told[name]


def test_examples_are_short_and_all_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text("utf-8")
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    links = re.findall(r"\]\(([^)#]+)", index)
    assert [link for link in links if not (EXAMPLES / link).exists()] == []
    assert folders == {link.partition("/")[0] for link in links} - {".."}
    for path in [*EXAMPLES.glob("*/*.py"), *EXAMPLES.glob("*/*/*.tsx")]:
        assert len(path.read_text("utf-8").splitlines()) < 100, path
    assert len(Path(EXAMPLES / "fastapi_chat/app.py").read_text("utf-8").splitlines()) < 80
