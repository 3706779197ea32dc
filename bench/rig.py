"""One line to measure: the paced upstream, a relay before it, and the load generator before that.

    load  ->  relay  ->  paced           three processes (trees), one machine, one clock

A line lives in a ``with`` block; leaving it ends every process by its pid and removes what was written.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import processes
from bench.load import PATHS, Departure, Load, LoadReport, Pace, UpstreamStats, request_body
from bench.loopback import exchange, free_port, wait_for
from bench.terminator import NAME, terminating
from bench.toolchain import ROOT, Programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.relays import Dialect, Relay

_SERVE_SECONDS = 30.0
_SETTLE_SECONDS = 0.5  # after the warm-up, and before memory is read: allocators and event loops come to rest


class RelayFailedError(Exception):
    """A relay did not start, or does not answer. The text says what its last words were."""


@dataclass
class Running:
    """A load generator at work."""

    process: subprocess.Popen[bytes]
    output: Path
    ready_file: Path

    def stop(self) -> LoadReport:
        """End the run now and return what was found so far."""
        self.process.terminate()
        return self.wait()

    def wait(self, each: Callable[[], None] = lambda: None) -> LoadReport:
        """Return the report once the run is over, calling *each* every 50 ms until then."""
        while self.process.poll() is None:
            each()
            time.sleep(0.05)
        text = self.output.read_bytes()
        if self.process.returncode != 0 or not text:
            raise RuntimeError(f"the load generator failed with {self.process.returncode}")
        return msgspec.json.decode(text, type=LoadReport)

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        """Return once every reader has had a byte of its response."""
        wait_for(self.ready_file.exists, seconds, "not every reader was answered")


@dataclass
class Line:
    """An upstream and a relay that serve. The direct line has no relay: its port is the upstream's."""

    relay: Relay
    programs: Programs
    directory: Path
    port: int
    upstream_port: int
    upstream: subprocess.Popen[bytes]
    process: subprocess.Popen[bytes] | None
    harness_cores: Sequence[int] | None
    terminator: subprocess.Popen[bytes] | None
    """What speaks TLS before the upstream, if anything does."""
    started_ms: float
    """From the start of the relay's process to its first HTTP response."""
    _loads: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def post(self, pace: Pace, dialect: Dialect = "chat") -> dict[str, Any]:
        """The fields of a Load that asks this relay for a stream of *pace*."""
        return {
            "path": PATHS[dialect],
            "body": request_body(dialect, self.relay.models[dialect], pace),
            "headers": self.relay.headers,
        }

    def start(self, load: Load) -> Running:
        """Start a run and return at once."""
        number = len(self._loads)
        running_in = self.directory / f"load-{number}"
        running_in.mkdir()
        ready, output = running_in / "ready", running_in / "report.json"
        command = [str(self.programs.load), f"--ready-file={ready}", *load.arguments(self.port, running_in)]
        with output.open("wb") as stdout:
            process = subprocess.Popen(command, stdout=stdout, preexec_fn=_pinned(self.harness_cores))
        self._loads.append(process)
        return Running(process, output, ready)

    def run(self, load: Load) -> LoadReport:
        """Run *load* to its end."""
        return self.start(load).wait()

    def warm_up(self, dialect: Dialect) -> None:
        """A few short streams, so that pools are filled and lazy imports are done; then a rest."""
        request = self.post(Pace(tokens=20, gap_us=5_000, first_ms=20), dialect)
        report = self.run(Load(streams=20, concurrency=10, expect=20, limit_s=15, **request))
        if report.complete == 0:
            raise RelayFailedError(f"no stream of the warm-up was whole: {report.why or 'no answer'}")
        time.sleep(_SETTLE_SECONDS)

    def cpu_seconds(self) -> float:
        """CPU time of the relay's family so far; 0 for the direct line."""
        return processes.cpu_seconds(self.process.pid) if self.process else 0.0

    def upstream_cpu_seconds(self) -> float:
        """What speaks TLS before it included."""
        mine = processes.cpu_seconds(self.upstream.pid)
        return mine + (processes.cpu_seconds(self.terminator.pid) if self.terminator else 0.0)

    def pss_kib(self) -> int:
        """Memory of the relay's family; 0 for the direct line."""
        return processes.pss_kib(self.process.pid) if self.process else 0

    def settled_pss_kib(self) -> int:
        time.sleep(_SETTLE_SECONDS)
        return self.pss_kib()

    def stats(self) -> UpstreamStats:
        return msgspec.json.decode(self._ask_upstream("/stats"), type=UpstreamStats)

    def departures(self) -> list[Departure]:
        return msgspec.json.decode(self._ask_upstream("/departures"), type=list[Departure])

    def _ask_upstream(self, path: str) -> bytes:
        return exchange(self.upstream_port, "GET", path)[1]

    def start_stream(self, pace: Pace) -> str:
        """Start a stream by the native route and return its id. It runs to its end without readers."""
        order = {
            "dialect": "openai.chat",
            "request": request_body("chat", self.relay.models["chat"], pace),
            "on_disconnect": "finish",
        }
        status, answer = exchange(self.port, "POST", "/v1/streams", order)
        if status != 201:
            raise RelayFailedError(f"POST /v1/streams: {status} {answer[:200]!r}")
        return str(json.loads(answer)["id"])

    def stop_loads(self) -> None:
        for process in self._loads:
            if process.poll() is None:
                process.kill()
                process.wait()


@contextmanager
def open_line(
    relay: Relay,
    programs: Programs,
    *,
    shape: str = "live",
    dialect: Dialect = "chat",
    relay_core: int | None = None,
    tls: bool = False,
) -> Iterator[Line]:
    """Start an upstream of *shape* and *relay*, wait until it serves, and warm it up.

    Args:
        dialect: To warm it up with.
        relay_core: Run the relay on this core alone, and everything else on the others.
        tls: Put TLS before the upstream, and tell the relay.
    Raises:
        RelayFailedError: It did not come up. Nothing is left running, then or later.
    """
    others = None if relay_core is None else sorted(os.sched_getaffinity(0) - {relay_core})
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenwire-bench-")))
        upstream, upstream_port = _start_upstream(stack, programs, shape, others)
        terminator, ca, reached = None, None, upstream_port
        if tls:
            (secured := directory / "tls").mkdir()
            try:
                terminator, reached = stack.enter_context(terminating(upstream_port, secured, _pinned(others)))
            except TimeoutError as error:
                raise RelayFailedError(str(error)) from error
            ca = secured / "ca.pem"
        process, port, began = None, upstream_port, time.monotonic()
        if relay.command:
            port = free_port()
            process = _start_relay(relay, port, reached, directory, dialect, relay_core, ca)
            stack.callback(processes.end, process)
            _wait_until_serving(process, port, directory / "relay.log")
        line = Line(
            relay=relay,
            programs=programs,
            directory=directory,
            port=port,
            upstream_port=upstream_port,
            upstream=upstream,
            process=process,
            harness_cores=others,
            terminator=terminator,
            started_ms=(time.monotonic() - began) * 1000,
        )
        stack.callback(line.stop_loads)
        line.warm_up(dialect)
        yield line


def _start_upstream(
    stack: ExitStack, programs: Programs, shape: str, cores: Sequence[int] | None
) -> tuple[subprocess.Popen[bytes], int]:
    upstream = subprocess.Popen(
        [str(programs.paced), "0", shape],
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_pinned(cores),
    )
    assert upstream.stdout is not None
    stack.enter_context(upstream.stdout)
    stack.callback(processes.end, upstream)
    return upstream, int(upstream.stdout.readline())


def _start_relay(
    relay: Relay, port: int, upstream: int, directory: Path, dialect: Dialect, core: int | None, ca: Path | None
) -> subprocess.Popen[bytes]:
    tls = None if ca is None else (NAME, ca)
    command, extra = relay.prepare(port=port, upstream=upstream, directory=directory, dialect=dialect, tls=tls)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        with (directory / "relay.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PATH": path, **extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_pinned(None if core is None else [core]),
            )
    except OSError as error:
        raise RelayFailedError(f"it does not start: {error}") from error


def _pinned(cores: Sequence[int] | None) -> Callable[[], None] | None:
    """What a child does before exec to stay on *cores*. Safe to run in Python: the rig has no threads."""
    return None if cores is None else lambda: os.sched_setaffinity(0, cores)


def _wait_until_serving(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def serves() -> bool:
        if process.poll() is not None:
            return True
        try:
            exchange(port, "GET", "/healthz")
        except (OSError, http.client.HTTPException):
            return False
        return True

    try:
        wait_for(serves, _SERVE_SECONDS, "it does not answer")
    except TimeoutError as error:
        raise RelayFailedError(f"{error}; it said: {_last_words(log)}") from None
    if process.poll() is not None:
        raise RelayFailedError(f"it ended with {process.returncode} and said: {_last_words(log)}")


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
