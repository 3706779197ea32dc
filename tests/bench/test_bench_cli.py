"""The command line of ``python -m bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.report import Section
from rich.console import Console

from bench import __main__ as cli
from bench import report, streams, toolchain

if TYPE_CHECKING:
    from bench.session import Session


def test_the_usual_run() -> None:
    options = cli.parse([])
    assert options.scenarios == ("lab", "live", "pacing", "latency")
    assert [r.name for r in options.relays] == ["direct", "nginx", "tokenwire", "tokenwire-ids", "tutorial"]
    assert (options.rounds, options.tries, options.quick, options.dialect) == (3, 500, False, "chat")
    assert options.json is None


def test_a_dialect_has_two_names() -> None:
    assert cli.parse(["--dialect", "messages"]).dialect == cli.parse(["--dialect", "anthropic"]).dialect == "messages"


def test_quick_is_less_of_everything_unless_said() -> None:
    assert (cli.parse(["--quick"]).rounds, cli.parse(["--quick"]).tries) == (1, 100)
    assert (cli.parse(["--quick", "--rounds", "5", "--tries", "7"]).rounds) == 5


def test_scenarios_keep_their_order_and_come_once() -> None:
    given = cli.parse(["--scenario", "cancel", "--scenario", "lab", "--scenario", "cancel"])
    assert given.scenarios == ("cancel", "lab")


def test_all_scenarios_are_all() -> None:
    everything = cli.parse(["--scenario", "all"]).scenarios
    extra = {
        "cancel",
        "tls-cancel",
        "memory",
        "fanout",
        "capacity",
        "translate",
        "partial",
        "library",
        "latejoin",
        "store",
        "store-stall",
        "cache",
    }
    assert set(everything) == {*streams.works(quick=False), *extra}


def test_relays_and_a_stranger_beside_them() -> None:
    options = cli.parse(["--relays", "nginx", "--command", "mine=serve --port {port} --to 'http://x:{upstream}'"])
    assert [r.name for r in options.relays] == ["nginx", "mine"]
    assert options.relays[1].command == ("serve", "--port", "{port}", "--to", "http://x:{upstream}")


def test_json_goes_to_a_file() -> None:
    assert cli.parse(["--json", "out.json"]).json == Path("out.json")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "nothing"], "invalid choice"),
        (["--relays", "nginx,haproxy"], "no relay is called 'haproxy'"),
        (["--command", "just-a-command"], "NAME=COMMAND"),
        (["--command", "=x"], "NAME=COMMAND"),
        (["--rounds", "0"], "not at least 1"),
        (["--rounds", "many"], "invalid"),
    ],
)
def test_nonsense_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.parse(arguments)
    assert left.value.code == 2
    assert says in capsys.readouterr().err


@pytest.fixture
def console() -> Console:
    return Console(width=200, record=True, quiet=False, force_terminal=False)


def canned(session: Session) -> Section:
    session.left_out["nginx"] = "it is not here"
    session.troubles.append("tokenwire: too late")
    section = Section("cancel", "A title", ("", "ms"), rows=[["direct line", "0.10"]], notes=["a note"])
    section.data.append({"relay": "direct", "ms": 0.1})
    return section


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs are not built, and one scenario has its result at once."""
    monkeypatch.setattr(cli, "build", lambda: toolchain.Programs(Path("paced"), Path("load")))
    monkeypatch.setitem(cli._EXTRA, "cancel", canned)


@pytest.mark.usefixtures("without_compiler")
def test_tables_notes_and_gaps_are_shown(console: Console, tmp_path: Path) -> None:
    options = cli.parse(["--scenario", "cancel", "--json", str(tmp_path / "out.json"), "--quick"])
    assert cli.measure(options, console) == 0
    text = console.export_text()
    for expected in (
        "Only ratios within one run",
        "--quick",
        "A title",
        "0.10",
        "a note",
        "No row for nginx: it is not here",
        "Not measured: tokenwire: too late",
    ):
        assert expected in text
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["scenarios"][0]["rows"] == [{"relay": "direct", "ms": 0.1}]
    assert written["left_out"] == {"nginx": "it is not here"}
    assert written["machine"]["cores"] >= "1"


@pytest.mark.usefixtures("without_compiler")
def test_a_run_without_a_row_fails(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli._EXTRA, "cancel", lambda _: Section("cancel", "A title", ("", "ms")))
    assert cli.measure(cli.parse(["--scenario", "cancel"]), console) == 1


def test_without_a_compiler_it_names_the_package(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(program: str, path: str) -> None:
        return None

    monkeypatch.setattr("shutil.which", none_here)
    assert cli.measure(cli.parse([]), console) == 1
    assert "apt-get install gcc libc6-dev" in console.export_text()


def test_figures_that_do_not_exist_are_dashes() -> None:
    assert report.number(None) == "–"
    assert report.number(1.234, 1) == "1.2"
    assert report.pair(None, 1500.0) == "– / 1.50"
