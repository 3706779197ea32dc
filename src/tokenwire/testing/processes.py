"""The relay and the simulator as processes of their own, for tests with real clients and real sockets.

    with running_simulator(folder) as simulator, running_relay(config, folder) as relay:
        openai.OpenAI(base_url=f"{relay.url}/v1", api_key="none")

Both take a free port of 127.0.0.1, say so on their standard output, and are ended by their own pid.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

#: Seconds. Nothing on loopback takes so long; it only keeps a broken test from hanging the run.
LIMIT_SECONDS: Final = 20.0
# A question is asked again after so many seconds: often enough to wait little, and the other process needs the core.
_AGAIN_SECONDS: Final = 0.005
_PATIENCE_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True)
class Running:
    """A server of ours.

    Attributes:
        url: ``http://127.0.0.1:PORT`` (a simulator with TLS: ``https://…``), without a slash at its end.
        pid: of the process.
        log: the file that takes its standard error.
    """

    url: str
    log: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ended(self, seconds: float = LIMIT_SECONDS) -> int:
        """Until it has ended by itself; its exit status. Raises ``AssertionError`` if that takes longer."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {seconds:g} s") from None

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone: it can do nothing about it."""
        self._process.kill()
        self._process.wait()

    @property
    def complaints(self) -> str:
        """Everything that it wrote to standard error so far."""
        return self.log.read_text("utf-8", "replace")


def wait_for(question: Callable[[], T], wanted: Callable[[T], object] = bool, seconds: float = LIMIT_SECONDS) -> T:
    """Ask until the answer is *wanted*, and return it: what other processes do cannot be awaited, only looked at.

    Raises ``AssertionError`` with the last answer if that does not come within *seconds*.
    """
    deadline = time.monotonic() + seconds
    while not wanted(answer := question()):
        assert time.monotonic() < deadline, f"this never came; the last answer was {answer!r}"
        time.sleep(_AGAIN_SECONDS)
    return answer


@contextmanager
def running_simulator(
    folder: Path, *, tls: tuple[Path, Path] | None = None, tls_fault: str | None = None
) -> Iterator[Running]:
    """``python -m tokenwire.simulator`` on a free port. *folder* takes its log.

    Args:
        tls: its certificate chain and its private key (PEM); with them, it serves HTTPS.
        tls_fault: how every handshake fails, a key of ``tokenwire.simulator.tls.HANDSHAKE_FAULTS``.

    Raises ``AssertionError`` if it does not start.
    """
    arguments = ["-m", "tokenwire.simulator", "--port", "0"]
    if tls is not None:
        arguments += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
    if tls_fault is not None:
        arguments += ["--tls-fault", tls_fault]
    # One log each, since a test may want a second simulator beside the first.
    number = len(list(folder.glob("simulator*.log")))
    with _running(arguments, folder / f"simulator{number or ''}.log") as simulator:
        yield simulator


@contextmanager
def running_relay(config: str, folder: Path, *, port: int = 0, home: Path | None = None) -> Iterator[Running]:
    """``tokenwire serve``. *config* is the text of its ``tokenwire.toml``, written to *folder*.

    Args:
        port: where it listens; 0: on a free one. ``ports.refusing_port`` keeps one for a relay that is started again.
        home: its TOKENWIRE_HOME, where its store is; by default one of its own. One after the other may have the same.

    Raises ``AssertionError`` if it does not start, and when it is left, if the relay logged an exception so far: a test
    may provoke failures of upstreams and clients, but none of ours.
    """
    path = folder / "tokenwire.toml"
    path.write_text(config, "utf-8")
    arguments = ["-m", "tokenwire", "serve", "--config", str(path), "--port", str(port)]
    number = len(list(folder.glob("relay*.log")))
    with _running(arguments, folder / f"relay{number or ''}.log", home) as relay:
        yield relay
        assert "Traceback" not in relay.complaints, relay.complaints


@contextmanager
def _running(arguments: list[str], log: Path, home: Path | None = None) -> Iterator[Running]:
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # A store of its own, unless its settings name one: two processes cannot share it.
            env={**os.environ, "TOKENWIRE_HOME": str(home or tempfile.mkdtemp(prefix="home", dir=log.parent))},
        )
    try:
        yield Running(_address(process, log), log, process)
    finally:
        _end(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address in the first line that it prints: by then it listens."""
    assert process.stdout is not None
    too_late = threading.Timer(LIMIT_SECONDS, process.kill)  # a read of a pipe has no timeout
    too_late.start()
    try:
        line = process.stdout.readline().decode()
    finally:
        too_late.cancel()
        too_late.join()
    found = re.search(r"https?://[^\s/]+", line)
    assert found is not None, f"it did not start; it said {line!r} and {log.read_text('utf-8', 'replace')!r}"
    return found[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kindly; a second time, for a relay lets its streams end first; then not."""
    for _ in range(2):
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


@contextmanager
def without_proxies() -> Iterator[None]:
    """``NO_PROXY`` for loopback, in this process and in those that it starts: clients obey the environment."""
    names = ("NO_PROXY", "no_proxy")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "127.0.0.1,localhost,::1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
