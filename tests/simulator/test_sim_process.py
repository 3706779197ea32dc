"""The simulator as a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tokenwire.simulator import __main__ as command
from tokenwire.simulator import run
from tokenwire.simulator.faults import FAULTS
from tokenwire.simulator.knobs import ANSWERS
from tokenwire.simulator.latency import PROFILES
from tokenwire.simulator.tls import HANDSHAKE_FAULTS

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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "cert.pem", folder / "key.pem"


def test_the_command_line_reads_a_certificate(monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(command, "run", lambda *args, **more: calls.append(more["tls"]))
    command.main(["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])])
    assert isinstance(calls[0], ssl.SSLContext)


@pytest.mark.parametrize("wrong", ["no key", "no cert", "missing", "not a certificate"])
def test_a_certificate_that_cannot_be_used_is_said(
    capsys: pytest.CaptureFixture[str], certificate: tuple[Path, Path], wrong: str
) -> None:
    cert, key = map(str, certificate)
    arguments = {
        "no key": ["--tls-cert", cert],
        "no cert": ["--tls-key", key],
        "missing": ["--tls-cert", cert, "--tls-key", key + "x"],
        "not a certificate": ["--tls-cert", key, "--tls-key", key],
    }[wrong]
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert ("belong together" if wrong.startswith("no ") else "cannot use --tls-cert") in said


def test_help_and_the_root_list_the_faults(capsys: pytest.CaptureFixture[str], get: Any) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    printed = capsys.readouterr().out
    wire = get(None, method="GET", path="/")
    assert wire.headers["content-type"] == "text/plain; charset=utf-8"
    for text in (printed, wire.body.decode()):
        assert all(f"  {name} " in text for name in (*FAULTS, *HANDSHAKE_FAULTS, *ANSWERS, *PROFILES, "X-Sim-Fault"))
    assert max(map(len, wire.body.decode().splitlines())) <= 120
