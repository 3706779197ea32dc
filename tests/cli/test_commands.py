"""Commands that end by themselves: version, check, and whatever cannot be served."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tokenwire import __version__
from tokenwire.cli.serving import check_workers
from tokenwire.errors import ConfigError
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

Command = Callable[..., Any]
LIST = answer(json.dumps({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}).encode())


@contextmanager
def upstream(sent: bytes) -> Iterator[str]:
    """A provider in a thread of its own, that answers each first request with *sent*; its base URL."""
    told = threading.Event()
    urls: list[str] = []
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def run() -> None:
        async with ScriptedUpstream([REQUEST, sent, CLOSE]) as server:
            urls.append(server.base_url)
            told.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert told.wait(10)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def test_version(tokenwire: Command) -> None:
    ended = tokenwire("version")
    assert (ended.code, ended.out, ended.err) == (0, f"tokenwire {__version__}\n", "")


def test_help_names_the_commands(tokenwire: Command) -> None:
    ended = tokenwire("--help")
    assert ended.code == 0
    for command in ("serve", "simulate", "check", "version"):
        assert command in ended.out


@pytest.mark.parametrize("module", ["tokenwire", "tokenwire.cli"])
def test_it_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], module: str) -> None:
    monkeypatch.setattr(sys, "argv", ["tokenwire", "version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not caught.value.code
    assert capfd.readouterr().out == f"tokenwire {__version__}\n"


@pytest.mark.parametrize("arguments", [["sing"], ["serve", "--prot", "1"], ["serve", "--port", "x"]])
def test_what_is_no_command_is_refused(tokenwire: Command, arguments: list[str]) -> None:
    ended = tokenwire(*arguments)
    assert ended.code == 2
    assert ended.err


# ---------------------------------------------------------------------- check


def test_check_of_upstreams_that_answer(tokenwire: Command, config: Command) -> None:
    with upstream(LIST) as url:
        toml = f'[upstreams.one]\nbase_url = "{url}"\n[upstreams.two]\nbase_url = "{url}"\n[server]\nport = 9000\n'
        ended = tokenwire("check", "--config", config(toml))
    assert ended.code == 0
    for word in ("one", "two", url, "openai.chat", "ok, 2 models", "listens on 127.0.0.1:9000, store sqlite://"):
        assert word in ended.out


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (answer(b'{"error":{"message":"Incorrect API key"}}', status=401), "status 401: Incorrect API key"),
        (answer(b"<html><title>Nothing here</title></html>", status=404, content_type="text/html"), "Nothing here"),
        (answer(b"<html>"), "that is no list of models"),
        (answer(b"[" * 100_000), "that is no list of models"),
        (b"", "closed the connection"),
    ],
)
def test_check_of_an_upstream_that_answers_otherwise(
    tokenwire: Command, config: Command, sent: bytes, said: str
) -> None:
    with upstream(sent) as url:
        ended = tokenwire("check", "--config", config(f'[upstreams.one]\nbase_url = "{url}"\n'))
    assert ended.code == 1
    assert said in ended.out


@pytest.mark.parametrize("status", [404, 405])
def test_check_of_an_upstream_whose_models_are_configured(tokenwire: Command, config: Command, status: int) -> None:
    with upstream(answer(b"", status=status)) as url:
        ended = tokenwire("check", "--config", config(f'[upstreams.one]\nbase_url = "{url}"\nmodels = ["a"]\n'))
    assert ended.code == 0
    assert "ok, 1 models configured" in ended.out


def test_check_shows_ones_own_prices(tokenwire: Command, config: Command) -> None:
    ended = tokenwire("check", "--config", config('[prices."local/llama-*"]\ninput = 0.25\noutput = 2\n'))
    (line,) = [line for line in ended.out.splitlines() if "local/llama-*" in line]
    assert re.findall(r"[0-9.]+", line) == ["0.25", "2", "0.25", "0.25"]


def test_check_of_an_upstream_that_is_not_there(tokenwire: Command, config: Command) -> None:
    with refusing_port() as port:
        ended = tokenwire("check", "--config", config(f'[upstreams.one]\nbase_url = "http://127.0.0.1:{port}/v1"\n'))
    assert ended.code == 1
    assert f"127.0.0.1:{port}: connect failed" in ended.out


def test_check_by_the_environment(tokenwire: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with upstream(LIST) as url:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        ended = tokenwire("check")
    assert ended.code == 0
    assert "openai" in ended.out
    assert "ok, 2 models" in ended.out


def test_check_without_upstreams_says_what_to_do(tokenwire: Command) -> None:
    ended = tokenwire("check")
    assert ended.code == 0
    assert "no upstreams: set OPENAI_API_KEY" in ended.out


def test_check_of_a_file_without_upstreams_says_that_it_has_none(tokenwire: Command, config: Command) -> None:
    path = config("[server]\nport = 9000\n")
    ended = tokenwire("check", "--config", path)
    assert ended.code == 1
    assert f"{path} configures no upstream" in ended.out
    assert "OPENAI_API_KEY" not in ended.out


@pytest.mark.parametrize(
    ("dialect", "end", "hinted"),
    [
        ('["openai.chat", "anthropic"]', "", True),
        ('["openai.chat", "anthropic"]', "/v1", False),
        ('"openai.chat"', "", False),
    ],
)
def test_check_hints_at_the_v1_of_two_dialects(
    tokenwire: Command, config: Command, monkeypatch: pytest.MonkeyPatch, dialect: str, end: str, hinted: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with upstream(answer(b'{"error":{"message":"nothing here"}}', status=404)) as url:
        base = url.removesuffix("/v1") + "/a-long-way-to-the-provider" + end
        ended = tokenwire("check", "--config", config(f'[upstreams.one]\nbase_url = "{base}"\ndialect = {dialect}\n'))
    assert ended.code == 1
    assert "…" not in ended.out, "an address that is cut is none"
    assert (f"one: the base_url of an upstream of several dialects ends in /v1: {base}/v1\n" in ended.out) == hinted


def test_brackets_are_printed_and_no_markup(tokenwire: Command, config: Command) -> None:
    ended = tokenwire("check", "--config", config('[upstreams.one]\nbase_url = "http://[fe80::1]:1/v1"\n'))
    assert "http://[fe80::1]:1/v1" in ended.out


# ---------------------------------------------------------------------- what cannot be served


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("[server]\nprot = 1", "tokenwire: server.prot: unknown key; did you mean 'port'?\n"),
        ("[server]\nhost = '0.0.0.0'", "tokenwire: server.host: '0.0.0.0' can be reached by others"),
        ("[upstreams.a]\nbase_url = 'x'", "tokenwire: upstreams.a.base_url: 'x' must begin with http:// or https://\n"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_bad_settings_are_one_line(tokenwire: Command, config: Command, command: str, toml: str, line: str) -> None:
    ended = tokenwire(command, "--config", config(toml))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(line)
    assert ended.err.count("\n") == 1


def test_a_missing_file_is_one_line(tokenwire: Command) -> None:
    ended = tokenwire("serve", "--config", "/nowhere/tokenwire.toml")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "cannot read /nowhere/tokenwire.toml: No such file" in ended.err


def test_a_port_in_use_is_one_line(tokenwire: Command, config: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        ended = tokenwire("serve", "--config", config(""), "--port", port)
        assert (ended.code, ended.out) == (2, "")
        expected = f"tokenwire: server.port: port {port} of 127.0.0.1 is in use; choose another with --port\n"
        assert ended.err == expected
        simulated = tokenwire("simulate", "--port", port)
        assert (simulated.code, simulated.err.count("\n")) == (2, 1)
        assert "in use" in simulated.err


def test_what_the_simulator_can_do_is_listed(tokenwire: Command) -> None:
    ended = tokenwire("simulate", "--faults")
    assert (ended.code, ended.err) == (0, "")
    for word in ("POST /v1/messages", "claude-sonnet-4-6", "overloaded-mid", "X-Sim-Fault", "--tls-fault"):
        assert word in ended.out


def test_a_certificate_that_cannot_be_used_is_one_line(tokenwire: Command, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for arguments, said in (
        (["--tls-cert", "x.pem"], "a certificate needs its key"),
        (["--tls-key", "x.pem"], "a certificate needs its key"),
        (["--tls-cert", "/nowhere/x.pem", "--tls-key", "/nowhere/y.pem"], "No such file"),
        (["--tls-cert", str(nonsense), "--tls-key", str(nonsense)], "PEM"),
        (["--tls-fault", "melt"], "'melt' is none of stall, close, reset, alert, plain"),
    ):
        ended = tokenwire("simulate", "--port", "0", *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert said in ended.err


def test_a_host_that_others_can_reach_is_refused(tokenwire: Command, config: Command) -> None:
    ended = tokenwire("serve", "--config", config(""), "--host", "0.0.0.0")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "no keys for them yet" in ended.err


def test_two_workers_are_refused_and_why(tokenwire: Command) -> None:
    ended = tokenwire("serve", "--workers", "2")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "cannot share a sqlite:// store" in ended.err
    assert "use --workers 1" in ended.err
    assert tokenwire("serve", "--workers", "0").code == 2


@pytest.mark.parametrize(
    ("store", "why"),
    [
        ("memory://", "cannot share a memory:// store: each would keep its streams to itself"),
        ("sqlite:///tmp/x.db", "cannot share a sqlite:// store: the file has one writer"),
        ("redis://127.0.0.1/0", "need a redis:// store, which this release does not have yet"),
    ],
)
def test_more_than_one_worker_is_refused_for_a_reason_of_its_own(store: str, why: str) -> None:
    check_workers(1, store)
    with pytest.raises(ConfigError, match=re.escape(f"--workers: 4 workers {why}")) as caught:
        check_workers(4, store)
    assert "use --workers 1" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite://x.db", "the path of sqlite:// is absolute"),
        ("redis://:secret@127.0.0.1/0", "redis:// is not built yet"),
        ("mongo://x", "'mongo' is no store"),
    ],
)
def test_a_store_that_there_is_not(tokenwire: Command, config: Command, url: str, why: str) -> None:
    ended = tokenwire("serve", "--config", config(f'[store]\nurl = "{url}"'), "--workers", "2")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"store.url: {why}" in ended.err
    assert "secret" not in ended.err


def test_workers_are_refused_with_settings_too(tokenwire: Command, config: Command) -> None:
    ended = tokenwire("serve", "--config", config(""), "--workers", "3")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--workers: 3 workers cannot share a sqlite:// store" in ended.err
