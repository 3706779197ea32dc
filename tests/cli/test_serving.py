"""``tokenwire serve`` and ``tokenwire simulate``: real processes, and the simulator that comes and goes with them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenwire.cli import serving
from tokenwire.cli.serving import has_display, run_serve, simulator
from tokenwire.errors import ConfigError
from tokenwire.testing.processes import wait_for

Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Serving in this process changes the collector and the log for good."""
    import gc

    thresholds, handlers = gc.get_threshold(), list(logging.getLogger().handlers)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    logging.getLogger().handlers = handlers


def ask(url: str, body: object = None, timeout: float = 10) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read())


def chat(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "say this"}]}


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_serve_without_anything_has_the_simulator(started: Start) -> None:
    relay = started("serve", "--port", "0")
    assert relay.url.startswith("http://127.0.0.1:")
    models = wait_for(lambda: ask(f"{relay.url}/v1/models")["data"])
    assert "sim/echo" in [model["id"] for model in models]
    answer = ask(f"{relay.url}/v1/chat/completions", chat("sim/echo"))
    assert answer["choices"][0]["message"]["content"] == "say this"
    (child,) = relay.children
    relay.popen.send_signal(signal.SIGTERM)
    ended = relay.end()
    assert (ended.code, ended.out, ended.err) == (0, "  upstreams: sim\n", "")
    assert not alive(child)


def test_ctrl_c_is_an_orderly_end(started: Start, config: Callable[[str], str]) -> None:
    relay = started("serve", "--port", "0", "--config", config(""))
    assert relay.children == [], "with a settings file there is no simulator"
    relay.popen.send_signal(signal.SIGINT)
    ended = relay.end()
    assert (ended.code, ended.out, ended.err) == (0, "  upstreams: none\n", "")


def test_the_simulator_ends_with_its_relay_however_that_ends(started: Start) -> None:
    relay = started("serve", "--port", "0")
    (child,) = relay.children
    assert alive(child)
    relay.popen.kill()
    relay.end()
    wait_for(lambda: not alive(child))


def test_running_answers_are_finished_first(started: Start) -> None:
    relay = started("serve", "--port", "0")
    body = {**chat("sim/instant"), "stream": True, "metadata": {"x-sim-tokens": "20", "x-sim-interval-ms": "25"}}
    request = urllib.request.Request(
        f"{relay.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        first = response.readline()
        relay.popen.send_signal(signal.SIGTERM)
        rest = response.read()
    assert first.startswith(b"data: ")
    assert rest.endswith(b"data: [DONE]\n\n")
    ended = relay.end()
    assert (ended.code, ended.err) == (0, "")
    assert "draining: 1 stream runs, 30 s at most; a second signal ends all at once" in ended.out


def test_simulate_is_the_simulator_alone(started: Start) -> None:
    process = started("simulate", "--port", "0")
    answer = ask(f"{process.url}/v1/chat/completions", chat("echo"))
    assert answer["choices"][0]["message"]["content"] == "say this"
    process.popen.send_signal(signal.SIGTERM)
    assert process.end().code == 0


# ---------------------------------------------------------------------- the same in this process


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_serving_with_a_browser(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], host: str) -> None:
    opened: list[str] = []

    def open_page(address: str) -> None:
        opened.append(address)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(webbrowser, "open", open_page)
    run_serve({"DISPLAY": ":0"}, config=None, host=host, port=0, workers=1, open_browser=True)
    out = capfd.readouterr().out.splitlines()
    assert out == [f"tokenwire {opened[0]}", "  upstreams: sim"]
    assert opened[0].startswith("http://[::1]:" if host == "::1" else "http://127.0.0.1:")


def test_without_a_display_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch, config: Callable[[str], str]) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("it was opened"))
    monkeypatch.setattr(serving, "announce", lambda settings, address: os.kill(os.getpid(), signal.SIGTERM))
    for wanted in (True, False):
        path = Path(config(""))
        run_serve({}, config=path, host=None, port=0, workers=1, open_browser=wanted)


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_where_a_browser_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert has_display(environ) is expected


def test_a_simulator_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(ConfigError, match="the simulator did not start"), simulator(wanted=True) as url:
        url()


def test_a_simulator_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\necho listening on http://127.0.0.1:1\nwhile read line; do :; done\n")
    stubborn.chmod(0o755)
    processes: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def keep(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(sys, "executable", str(stubborn))
    monkeypatch.setattr(subprocess, "Popen", keep)
    monkeypatch.setattr(serving, "_PATIENCE_SECONDS", 0.1)
    with simulator(wanted=True) as url:
        assert url() == "http://127.0.0.1:1/v1"
    assert processes[0].returncode == -signal.SIGKILL
