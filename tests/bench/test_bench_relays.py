"""How relays are described, started and left out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.load import Leave, Load, Pace, request_body
from bench.relays import KNOWN, Dialect, Relay
from bench.rig import RelayFailedError

from bench import relays, session, toolchain

if TYPE_CHECKING:
    from bench.rig import Line


def test_templates_leave_other_braces_alone() -> None:
    assert relays.fill("http { a {port}; {x} }", {"port": "1"}) == "http { a 1; {x} }"


@pytest.mark.parametrize(
    ("name", "store"),
    [
        ("tokenwire", "memory://"),
        ("tokenwire-ids", "memory://"),
    ],
)
@pytest.mark.parametrize(
    ("dialect", "name_of_it", "base_url"),
    [("chat", "openai.chat", "http://127.0.0.1:5000/v1"), ("messages", "anthropic", "http://127.0.0.1:5000")],
)
def test_tokenwire_is_configured(
    name: str, store: str, dialect: Dialect, name_of_it: str, base_url: str, tmp_path: Path
) -> None:
    relay = KNOWN[name]
    command, _ = relay.prepare(port=4000, upstream=5000, directory=tmp_path, dialect=dialect)
    assert command[1:] == ["serve", "--config", str(tmp_path / "tokenwire.toml")]
    settings = tomllib.loads((tmp_path / "tokenwire.toml").read_text())
    assert settings == {
        "server": {"host": "127.0.0.1", "port": 4000},
        "store": {"url": store.replace("{dir}", str(tmp_path))},
        "upstreams": {"lab": {"dialect": name_of_it, "base_url": base_url, "api_key": "x"}},
    }
    assert relay.models[dialect].startswith("lab/")


def test_nginx_is_told_its_ports_and_its_directory(tmp_path: Path) -> None:
    KNOWN["nginx"].prepare(port=4000, upstream=5000, directory=tmp_path)
    text = (tmp_path / "nginx.conf").read_text()
    assert "listen 127.0.0.1:4000" in text
    assert "server 127.0.0.1:5000" in text
    assert "proxy_buffering off" in text
    assert not {"{port}", "{upstream}", "{dir}"} & set(text.replace(";", " ").split())


def test_who_can_reach_a_provider_by_tls_is_told_its_name_and_whom_to_trust(tmp_path: Path) -> None:
    assert {relay.name for relay in KNOWN.values() if relay.tls} == {
        "nginx",
        "tokenwire",
        "tokenwire-ids",
        "tokenwire-sqlite",
        "tokenwire-embedded",
    }
    tls = ("provider.test", tmp_path / "ca.pem")
    KNOWN["nginx"].prepare(port=4000, upstream=5000, directory=tmp_path, tls=tls)
    text = (tmp_path / "nginx.conf").read_text()
    assert "proxy_pass https://provider" in text
    assert f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {tmp_path}/ca.pem; proxy_ssl_name provider.test" in text
    KNOWN["tokenwire"].prepare(port=4000, upstream=5000, directory=tmp_path, tls=tls)
    upstream = tomllib.loads((tmp_path / "tokenwire.toml").read_text())["upstreams"]["lab"]
    assert upstream["base_url"] == "https://127.0.0.1:5000/v1"
    assert upstream["tls"] == {"ca_file": f"{tmp_path}/ca.pem", "server_name": "provider.test"}


def test_the_tutorial_relay_learns_its_upstream_from_the_environment(tmp_path: Path) -> None:
    command, environment = KNOWN["tutorial"].prepare(port=4000, upstream=5000, directory=tmp_path)
    assert command[-1] == "4000"
    assert environment == {"UPSTREAM": "http://127.0.0.1:5000/v1"}


def a_session(*rows: Relay, rounds: int = 3) -> session.Session:
    return session.Session(toolchain.Programs(Path("paced"), Path("load")), list(rows), rounds=rounds)


def test_a_missing_program_is_named_with_its_package_and_asked_for_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    relay = Relay(name="x", title="X", command=("x",), needs=(("no-such-program", "some-package"),))
    bench = a_session(relay)
    assert bench.measure(relay, lambda _: 1) is None
    assert bench.measure(relay, lambda _: 1) is None
    assert "apt-get install some-package" in bench.left_out["x"]
    assert capsys.readouterr().err.count("some-package") == 1


def test_a_program_of_the_environment_that_is_not_installed_leaves_the_row_out(tmp_path: Path) -> None:
    relay = relays.other("y", [str(tmp_path / "tokenwire")])
    bench = a_session(relay)
    assert bench.measure(relay, lambda _: 1) is None
    assert "not installed" in bench.left_out["y"]


@pytest.mark.parametrize("error", [RelayFailedError("no such route"), TimeoutError("too late")])
def test_trouble_within_one_scenario_does_not_condemn_the_relay(error: Exception, programs: toolchain.Programs) -> None:
    def work(line: Line) -> int:
        raise error

    bench = session.Session(programs, [relays.DIRECT])
    assert bench.measure(relays.DIRECT, work) is None
    assert bench.left_out == {}
    assert bench.troubles == [f"direct line: {error}"]


def test_turns_are_interleaved_and_a_slow_relay_has_one_of_the_heavy() -> None:
    quick, slow = relays.other("a", ["a"]), KNOWN["tutorial"]
    names = [(turn, relay.name) for turn, relay in a_session(rounds=2).turns([quick, slow], heavy=True)]
    assert names == [(0, "a"), (0, "tutorial"), (1, "a")]
    assert len(list(a_session(rounds=2).turns([quick, slow], heavy=False))) == 4


def test_variants_are_left_out_where_they_make_no_difference() -> None:
    assert [r.name for r in a_session(*KNOWN.values()).plain()] == [
        "direct",
        "nginx",
        "tokenwire",
        "tokenwire-sqlite",
        "tokenwire-embedded",
        "tutorial",
    ]


def test_the_pace_travels_in_the_prompt() -> None:
    body = request_body("messages", "m", Pace(tokens=7, gap_us=1, first_ms=2, head_ms=3, hold_after=4))
    assert "paced(tokens=7,gap_us=1,first_ms=2,head_ms=3,hold_after=4,stamps=1,tag=0000000000)" in str(body["messages"])
    assert body["max_tokens"] == 7
    assert "max_tokens" not in request_body("chat", "m", Pace())


def test_a_load_becomes_a_command_line(tmp_path: Path) -> None:
    plain = Load(streams=2, concurrency=1).arguments(4000, tmp_path)
    assert "--port=4000" in plain
    assert not [a for a in plain if a.startswith(("--leave", "--window", "--first-tag", "--stop", "--body"))]
    full = Load(
        streams=2,
        concurrency=1,
        body={"a": "ü"},
        headers=["X: 1"],
        window_ms=(1, 2),
        stop_reading=0,
        first_tag=5,
        leave=Leave(how="rst", after_tokens=3),
        extra={"leave-log": "f"},
    ).arguments(4000, tmp_path)
    for expected in (
        "--window-ms=1:2",
        "--stop-reading=0",
        "--first-tag=5",
        "--leave=rst",
        "--leave-tokens=3",
        "--leave-log=f",
        "--header=X: 1",
        f"--body={tmp_path / 'body.json'}",
    ):
        assert expected in full
    assert (tmp_path / "body.json").read_text() == '{"a":"\\u00fc"}'
