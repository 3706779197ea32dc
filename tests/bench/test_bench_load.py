"""The load generator: what it takes for a whole stream, and what it says about the others."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from bench.load import Load, LoadReport
from bench.rig import Running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.toolchain import Programs

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"


def event(index: int) -> bytes:
    return f'data: {{"t":"~{time.monotonic_ns():016x}.{index:06x}~ a ~tilde~"}}\n\n'.encode()


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%X%s\r\n%s\r\n" % (len(data), extension, data)


def length(data: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


@pytest.fixture
def load(programs: Programs, tmp_path: Path) -> Callable[[int], LoadReport]:
    """One reader of one stream of two tokens, at a port."""

    def run(port: int) -> LoadReport:
        output = tmp_path / "report.json"
        arguments = Load(streams=1, concurrency=1, expect=2, limit_s=5).arguments(port, tmp_path)
        with output.open("wb") as stdout:
            process = subprocess.Popen([str(programs.load), *arguments], stdout=stdout)
        return Running(process, output, tmp_path / "ready").wait()

    return run


TWO = event(0) + event(1)
WHOLE = {
    "chunks": CHUNKED + chunk(event(0)) + chunk(event(1)) + chunk(DONE) + LAST,
    "chunks with an extension and a trailer": CHUNKED + chunk(TWO + DONE, b";x=1") + b"0\r\nX-A: b\r\n\r\n",
    "a length": length(TWO + DONE),
    "the close": b"HTTP/1.1 200 OK\r\n\r\n" + TWO + DONE,
    "anthropic": length(TWO + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    "native": length(TWO + b"event: done\ndata: {}\n\n"),
}


@pytest.mark.parametrize("response", WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_stream(
    response: bytes, server: Callable[[list[bytes]], int], load: Callable[[int], LoadReport]
) -> None:
    report = load(server([response]))
    assert (report.complete, report.broken, report.tokens, report.lost, report.repeated) == (1, 0, 2, 0, 0)
    assert sum(count for _, count in report.delay_us) == 2
    assert len(report.ttft_us) == len(report.longest_gap_us) == len(report.tokens_per_s) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 25])
def test_portions_may_end_anywhere(
    size: int, server: Callable[[list[bytes]], int], load: Callable[[int], LoadReport]
) -> None:
    response = WHOLE["chunks"]
    report = load(server([response[i : i + size] for i in range(0, len(response), size)]))
    assert (report.complete, report.tokens) == (1, 2)


class Broken(NamedTuple):
    response: bytes
    why: str
    lost: int = 0
    repeated: int = 0


BROKEN = {
    "no end marker": Broken(length(TWO), "ended without its end marker"),
    "no last chunk": Broken(CHUNKED + chunk(TWO + DONE), "cut off"),
    "half a chunk": Broken(CHUNKED + chunk(TWO)[:-30], "cut off", lost=1),
    "nothing": Broken(b"", "cut off", lost=2),
    "an error": Broken(length(b"{}", "503 Service Unavailable"), "refused (status 503", lost=2),
    "no content": Broken(b"HTTP/1.1 204 No Content\r\n\r\n", "refused (status 204", lost=2),
    "no size": Broken(CHUNKED + b"\r\n" + TWO, "malformed", lost=2),
    "bad size": Broken(CHUNKED + b"xy\r\n" + TWO, "malformed", lost=2),
    "size that lies": Broken(CHUNKED + b"2\r\nabc\r\n", "malformed", lost=2),
    "not HTTP": Broken(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed", lost=2),
    "endless head": Broken(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000, "malformed", lost=2),
    "token lost": Broken(length(event(0) + event(2) + DONE), "out of order", lost=1),
    "token doubled": Broken(length(event(0) + TWO + DONE), "out of order", repeated=1),
    "token late": Broken(length(event(1) + event(0) + DONE), "out of order", lost=1, repeated=1),
    "too few": Broken(length(event(0) + DONE), "tokens missing", lost=1),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_stream_is_called_so(
    case: Broken, server: Callable[[list[bytes]], int], load: Callable[[int], LoadReport]
) -> None:
    report = load(server([case.response]))
    assert (report.complete, report.broken) == (0, 1)
    assert case.why in report.why
    assert (report.lost, report.repeated) == (case.lost, case.repeated)


def test_nobody_listens(load: Callable[[int], LoadReport]) -> None:
    report = load(1)  # tcpmux: nothing on a machine of today
    assert (report.broken, report.tokens, report.ttft_us) == (1, 0, [])
    assert "refused" in report.why


@pytest.mark.parametrize("arguments", [[], ["--port", "1", "--first-tag", "1"], ["--port=1", "--body=/nowhere"]])
def test_nonsense_is_refused(arguments: list[str], programs: Programs) -> None:
    done = subprocess.run([programs.load, *arguments], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr
