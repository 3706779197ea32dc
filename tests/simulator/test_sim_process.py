"""The simulator as a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tokenwire.simulator import __main__ as command
from tokenwire.simulator import run

_LIMIT = 60


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-m", "tokenwire.simulator", "--port", "0", "--with-stdin"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"simulator listening on (http://127\.0\.0\.1:\d+)\n", line)
    assert found, line
    return found[1]


class Terminal(io.StringIO):
    """Standard output that does something as soon as a line is there."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then

    def flush(self) -> None:
        self.then()


def test_run_returns_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(lambda: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(sys, "stdout", terminal)
    run(port=0)
    assert terminal.getvalue().startswith("simulator listening on http://127.0.0.1:")


def test_run_returns_when_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = os.pipe()
    with os.fdopen(there) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", Terminal(lambda: os.close(here)))
        run(port=0, with_stdin=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    url = address(process)
    with urllib.request.urlopen(f"{url}/healthz", timeout=_LIMIT) as answer:
        assert json.load(answer) == {"status": "ok"}
    body = json.dumps({"model": "fault-stall", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    with urllib.request.urlopen(f"{url}/v1/chat/completions", body, timeout=_LIMIT) as stream:
        assert stream.read(6) == b"data: "
        process.send_signal(number)
        assert process.wait(_LIMIT) == 0


def test_it_ends_with_its_parents_pipe(process: subprocess.Popen[str]) -> None:
    address(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(_LIMIT) == 0


def test_the_command_line_says_where_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(command, "run", lambda *args, **more: calls.append((args, more)))
    command.main([])
    command.main(["--host", "::1", "--port", "7", "--with-stdin", "--tls-fault", "stall"])
    assert calls == [
        (("127.0.0.1", 8789), {"with_stdin": False, "tls": None, "handshake": None}),
        (("::1", 7), {"with_stdin": True, "tls": None, "handshake": "stall"}),
    ]
