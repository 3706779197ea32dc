"""The Python side of ``wire/load.c`` and ``wire/paced.c``: what they are told, and what they answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench.figures import Bucket, histogram_percentile, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.relays import Dialect


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How one stream is written. It travels in the prompt (``wire/knobs.h`` says why)."""

    tokens: int = 100
    gap_us: int = 20_000
    first_ms: int = 100
    head_ms: int = 0
    hold_after: int = 0
    """Stand still after this many tokens until the client leaves; 0: never."""
    stamps: bool = True
    """Whether each token says when it was sent, in 25 characters, which makes it seven times as long as a word."""

    def prompt(self) -> str:
        return (
            f"paced(tokens={self.tokens},gap_us={self.gap_us},first_ms={self.first_ms},"
            f"head_ms={self.head_ms},hold_after={self.hold_after},stamps={self.stamps:d},tag=0000000000)"
        )


def request_body(dialect: Dialect, model: str, pace: Pace) -> dict[str, Any]:
    """A streaming request in *dialect*, as a client would send it."""
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": f"Say something about streams. {pace.prompt()}"}],
    }
    if dialect == "messages":
        body["max_tokens"] = pace.tokens
    return body


PATHS: dict[Dialect, str] = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}


@dataclass(frozen=True, kw_only=True)
class Leave:
    """Hang up before the end: after so many tokens, or so long after asking, plus a random time."""

    how: Literal["fin", "rst"]
    after_tokens: int = 0
    after_ms: int = 0
    jitter_ms: int = 20


@dataclass(frozen=True, kw_only=True)
class Load:
    """One run of the load generator."""

    streams: int
    concurrency: int
    method: Literal["POST", "GET"] = "POST"
    path: str = "/v1/chat/completions"
    body: dict[str, Any] | None = None
    headers: Sequence[str] = ()
    expect: int = 0
    """Tokens of a whole stream; 0: not checked."""
    ramp_us: int = 200
    limit_s: int = 120
    window_ms: tuple[int, int] | None = None
    """Once every reader was answered, wait and then measure rates and gaps for so long, and end (both in ms)."""
    stop_reading: int | None = None
    """Readers go deaf after so many tokens."""
    leave: Leave | None = None
    first_tag: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    def arguments(self, port: int, directory: Path) -> list[str]:
        """The command line, without the program. Writes the body into *directory*."""
        options: dict[str, object] = {
            "port": port,
            "method": self.method,
            "path": self.path,
            "streams": self.streams,
            "concurrency": self.concurrency,
            "expect": self.expect,
            "ramp-us": self.ramp_us,
            "limit-s": self.limit_s,
        }
        if self.body is not None:
            # Compact, and "tag=" as plain ASCII: the load generator patches the digits in place.
            (directory / "body.json").write_text(json.dumps(self.body, separators=(",", ":")))
            options["body"] = directory / "body.json"
        if self.window_ms is not None:
            options["window-ms"] = f"{self.window_ms[0]}:{self.window_ms[1]}"
        if self.stop_reading is not None:
            options["stop-reading"] = self.stop_reading
        if self.first_tag:
            options["first-tag"] = self.first_tag
        if self.leave is not None:
            options |= {
                "leave": self.leave.how,
                "leave-tokens": self.leave.after_tokens,
                "leave-ms": self.leave.after_ms,
                "leave-jitter-ms": self.leave.jitter_ms,
            }
        arguments = [f"--{name}={value}" for name, value in (options | self.extra).items()]
        return arguments + [f"--header={header}" for header in self.headers]


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the load generator found (``wire/report.h``). Series: a figure for each stream that has one."""

    started: int
    complete: int
    broken: int
    left: int
    unfinished: int
    tokens: int
    lost: int
    repeated: int
    why: str
    """Of the first broken stream."""
    seconds: float
    cpu_seconds: float
    delay_us: list[Bucket]
    ttft_us: list[float]
    added_ttft_us: list[float]
    longest_gap_us: list[float]
    tokens_per_s: list[float]

    def delay(self, q: float) -> float | None:
        """Quantile *q* of the one-way delay of a token, in microseconds."""
        return histogram_percentile(self.delay_us, q)

    def added_ttft(self, q: float) -> float | None:
        """Quantile *q* of the time to the first token without the upstream's own share, in microseconds."""
        return percentile(self.added_ttft_us, q)


class UpstreamStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of the paced upstream since its start (``wire/ledger.h``)."""

    requests: int
    active: int
    tokens: int
    text_bytes: int
    complete: int
    departed: int
    late_ns_sum: int
    late_ns_max: int


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """When the upstream saw that the relay had left a tagged stream (CLOCK_MONOTONIC, ns)."""

    tag: int
    ns: int
    reset: bool
