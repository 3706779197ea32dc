"""The command line, in this process for what ends by itself, and as a process of its own for what serves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokenwire.cli import main
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import Running, running_relay, running_simulator, wait_for, without_proxies

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
def tokenwire(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Ended]:
    """``tokenwire(*arguments)`` runs the command in this process."""

    monkeypatch.setenv("TOKENWIRE_HOME", str(tmp_path / "home"))

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
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """``started(*arguments)`` starts the command, and waits for the address that it prints; ended with the test. Each
    has a store of its own."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "tokenwire", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what follows the first line is left for `end`
            env={**os.environ, "TOKENWIRE_HOME": str(tmp_path / f"home{len(processes)}")},
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


# ---------------------------------------------------------------------- tokenwire chat

#: ``slow`` is the simulator again, at fifty tokens a second and far longer than any test.
CHAT_CONFIG = """
[upstreams.sim]
base_url = "{simulator}/v1"
models = ["echo", "gpt-4o", "instant"]
[upstreams.slow]
base_url = "{simulator}/v1"
models = ["instant"]
headers = {{ x-sim-tokens = "3000", x-sim-interval-ms = "20", x-sim-ttft-ms = "60" }}
[upstreams.cut]
base_url = "{simulator}/v1"
models = ["instant"]
headers = {{ x-sim-fault = "error-mid:3" }}
[models.parrot]
route = ["sim/echo"]
"""


@pytest.fixture(scope="session")
def chat_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with without_proxies(), running_simulator(tmp_path_factory.mktemp("simulator")) as running:
        yield running


@pytest.fixture(scope="session")
def chat_config(chat_simulator: Running) -> str:
    return CHAT_CONFIG.format(simulator=chat_simulator.url)


@pytest.fixture(scope="session")
def chat_relay(chat_config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with without_proxies(), running_relay(chat_config, tmp_path_factory.mktemp("relay")) as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port of this machine where nobody listens, and nobody else will."""
    with refusing_port() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def ask() -> Callable[..., Any]:
    """``ask(url, body=None)``: the JSON behind *url*; with *body*, by POST."""

    def fetch(url: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read())

    return fetch


@pytest.fixture
def stats(chat_simulator: Running, ask: Callable[..., Any]) -> Callable[[], dict[str, int]]:
    """The simulator's counters since this test began."""

    def report() -> dict[str, int]:
        counters: dict[str, int] = ask(f"{chat_simulator.url}/stats")
        return counters

    before = wait_for(report, lambda now: now["active"] == 0)
    return lambda: {name: value - before[name] for name, value in report().items()}


class Pty:
    """``tokenwire chat`` on a terminal of its own, as a person has it. *usual*: where it looks for a relay by itself.

    Attributes:
        shown: everything that it wrote, escape codes included.
    """

    def __init__(self, *arguments: str, usual: str | None = None, **environ: str) -> None:
        code = ["import fcntl, termios", "fcntl.ioctl(0, termios.TIOCSCTTY, 0)"]  # Ctrl-C typed there is a SIGINT here
        if usual is not None:
            code += ["from tokenwire.cli import chatting", f"chatting.DEFAULT_URL = {usual!r}"]
        code += ["from tokenwire.cli import main", "main()"]
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.popen = subprocess.Popen(
            [sys.executable, "-c", "; ".join(code), "chat", *arguments],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environ},
        )  # fmt: skip
        os.close(slave)
        self.shown = ""
        self._bytes = b""

    def read(self, seconds: float = 20.0) -> bool:
        """Take what is there, or comes within *seconds*; False at the end."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # Linux: nobody has the other side open any more
            data = b""
        self._bytes += data
        self.shown = self._bytes.decode("utf-8", "ignore")
        return bool(data)

    def until(self, pattern: str) -> re.Match[str]:
        """Until *pattern* is in what came since the last call; the match."""
        while (found := re.search(pattern, self.shown, re.DOTALL)) is None:
            assert self.read(), f"{pattern!r} never came; this did: {self.shown!r}"
        self._bytes = self._bytes[len(self.shown[: found.end()].encode()) :]  # perhaps with half a character at its end
        self.shown = self.shown[found.end() :]
        return found

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Wait for its end; its exit status."""
        while self.read():
            pass
        return self.popen.wait(20)

    def interrupt(self) -> None:
        """Ctrl-C at a prompt, until it is heard: Python's readline sleeps through a signal that comes between two waits
        for a key, until the next key. Another Ctrl-C then counts as one with it."""
        self.type("\x03")
        while not self.read(2.0):
            assert self.popen.poll() is None
            self.type("\x03")

    def leave(self) -> int:
        """Ctrl-C at the empty prompt; the exit status."""
        self.interrupt()
        return self.end()

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Pty]]:
    """``terminal(*arguments, usual=None, **environ)`` starts a chat on a terminal; ended with the test."""
    made: list[Pty] = []

    def start(*arguments: str, usual: str | None = None, **environ: str) -> Pty:
        made.append(Pty(*arguments, usual=usual, **environ))
        return made[-1]

    yield start
    for each in made:
        each.close()
