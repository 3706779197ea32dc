"""The command line, in this process for what ends by itself, and as a process of its own for what serves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tokenwire.cli import main
from tokenwire.testing.processes import without_proxies

#: Variables that name upstreams: the tests' own environment must not.
_UPSTREAMS = ("API_KEY", "BASE_URL", "OLLAMA_HOST")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.endswith(_UPSTREAMS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    with without_proxies():
        yield


@dataclass
class Ended:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def tokenwire(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``tokenwire(*arguments)`` runs the command in this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tokenwire", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        code = caught.value.code
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run


@dataclass
class Process:
    """``tokenwire …`` as a process of its own."""

    popen: subprocess.Popen[bytes]
    url: str

    @property
    def children(self) -> list[int]:
        path = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def end(self) -> Ended:
        """Wait for its end; standard output is what came after the first line."""
        out, err = self.popen.communicate(timeout=20)
        return Ended(self.popen.returncode, out.decode(), err.decode())


@pytest.fixture
def started() -> Iterator[Callable[..., Process]]:
    """``started(*arguments)`` starts the command, and waits for the address that it prints; ended with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "tokenwire", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what follows the first line is left for `end`
        )
        processes.append(popen)
        assert popen.stdout is not None
        line = popen.stdout.readline().decode()
        found = re.search(r"http://\S+", line)
        assert found is not None, f"it said {line!r}, and {popen.communicate()[1].decode()!r}"
        return Process(popen, found[0])

    yield start
    for popen in processes:
        if popen.poll() is None:
            popen.kill()
        popen.communicate()


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """``config(toml)`` writes a settings file; its path."""

    def write(toml: str) -> str:
        path = tmp_path / "tokenwire.toml"
        path.write_text(toml, "utf-8")
        return str(path)

    return write
