"""Fuzz the SSE decoder: whatever bytes arrive, cut anywhere, it gives the events of the plain rules, or EventTooLarge.

    python fuzz/sse.py [--seconds 60] [--seed 0]        mutates the conformance set; needs nothing else
    python fuzz/sse.py --atheris [libFuzzer options]    coverage-guided, where atheris is installed

Each input is decoded in random chunks, sometimes after a first chunk that opens the fast paths, sometimes under a
small limit, and compared with `tokenwire.testing.plain_sse` after every chunk and at the end. A failure prints a
call of `check` that repeats it, and leaves with status 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from tokenwire.errors import EventTooLarge
from tokenwire.testing.plain_sse import read
from tokenwire.wire.sse import DEFAULT_LIMIT, Decoder, Event

CONFORMANCE = Path(__file__).parent.parent / "conformance" / "sse.json"

# Pieces of the grammar and of what surrounds it, which random bytes would rarely hit.
TOKENS = [
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"data: ", b"data:", b"data", b"event: ", b"event:", b"id: ",
    b"id:", b"retry: ", b": ", b":", b" ", b"\0", b"7", b"1500", b"{}", b"[DONE]", b'{"a":"b"}', b"x", b"\xef\xbb\xbf",
    b"\xef\xbb", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b", b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"\x80", b"\xff",
    b"data: a\n\n", b"data: b\r\n\r\n", b"event: t\ndata: c\n\n", b"\n\ndata: ", b"\n\nevent: ", b"\ndata: ",
]  # fmt: skip

# What opens the fast paths: none, one for each shape, one for CRLF.
FIRST_CHUNKS = [b"", b"data: first\n\n", b"event: first\ndata: first\n\n", b"data: first\r\n\r\n"]


class MismatchError(AssertionError):
    """The decoder and the oracle disagree, or the decoder raised what it must not."""


def seeds() -> list[bytes]:
    cases = json.loads(CONFORMANCE.read_text())["cases"]
    return [case["wire"].encode("latin-1") for case in cases]


def check(chunks: list[bytes], limit: int = DEFAULT_LIMIT, lenient: bool = True) -> None:
    """Decode *chunks* and compare with the oracle.

    Raises:
        MismatchError: They differ, with the call that shows it.
    """
    try:
        _check(chunks, limit, lenient)
    except Exception as error:
        raise MismatchError(f"check({chunks!r}, limit={limit}, lenient={lenient}): {error!r}") from error


def _check(chunks: list[bytes], limit: int, lenient: bool) -> None:
    decoder = Decoder(limit)
    events: list[Event] = []
    wire = b""
    failed = False
    for chunk in chunks:
        wire += chunk
        expected = read(wire, limit)
        try:
            events += decoder.feed(chunk)
        except EventTooLarge:
            failed = True
        assert events == expected.events, f"{events} but by the rules {expected.events}"
        assert decoder.last_event_id == expected.last_event_id
        assert failed <= expected.too_large, "raised though nothing is too large"
    expected = read(wire, limit)
    try:
        at_end = decoder.close(lenient=lenient)
    except EventTooLarge:
        assert expected.too_large, "raised though nothing is too large"
    else:
        assert not expected.too_large, "too large, but not raised"
        assert at_end == (expected.at_end if lenient else [])
        last_event_id = expected.last_event_id_at_end if lenient else expected.last_event_id
        assert decoder.last_event_id == last_event_id


def mutate(rng: random.Random, corpus: list[bytes]) -> bytes:
    wire = bytearray(rng.choice(corpus))
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(wire))
        end = min(len(wire), at + rng.randint(1, 12))
        match rng.randrange(6):
            case 0:
                wire[at:at] = rng.choice(TOKENS)
            case 1:
                del wire[at:end]
            case 2:
                wire[at:at] = wire[at:end]
            case 3:
                wire[at:end] = rng.choice(TOKENS)
            case 4:
                wire[at:] = rng.choice(corpus)
            case _:
                wire[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(wire)


def cut(rng: random.Random, wire: bytes) -> list[bytes]:
    """Random chunks, of which some end where events do: that is where the fast paths work."""
    blanks = [at + 2 for at in range(len(wire)) if wire[at : at + 2] == b"\n\n" or wire[at - 2 : at + 2] == b"\r\n\r\n"]
    places = set(rng.choices(range(len(wire) + 1), k=rng.choice([0, 1, 2, 3, len(wire)])))
    places |= {at for at in blanks if rng.random() < 0.5}
    cuts = [0, *sorted(places), len(wire)]
    return [wire[start:end] for start, end in pairwise(cuts)]


def run(rounds: Iterable[object], seed: int = 0) -> int:
    """As many inputs as *rounds* has elements, the same for the same seed; returns how many.

    Raises:
        MismatchError: At the first failure.
    """
    rng = random.Random(seed)
    corpus = seeds()
    done = 0
    for _ in rounds:
        chunks = [rng.choice(FIRST_CHUNKS), *cut(rng, mutate(rng, corpus))]
        limit = rng.randint(3, 64) if rng.random() < 0.25 else DEFAULT_LIMIT
        check(chunks, limit, lenient=rng.random() < 0.7)
        done += 1
    return done


def until(deadline: float) -> Iterator[int]:
    for number in count():
        if time.monotonic() >= deadline:
            return
        yield number


def one_input(data: bytes) -> None:
    """For coverage-guided fuzzers: the first bytes choose first chunk, limit and chunk size; the rest is the stream."""
    head, wire = data[:3].ljust(3, b"\0"), data[3:]
    size = head[2] or len(wire) or 1
    chunks = [wire[start : start + size] for start in range(0, len(wire), size)]
    limit = 3 + head[1] if head[1] < 128 else DEFAULT_LIMIT
    check([FIRST_CHUNKS[head[0] % len(FIRST_CHUNKS)], *chunks], limit)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the SSE decoder against the plain rules.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="further options go to libFuzzer")
    options, rest = parser.parse_known_args()
    if options.atheris:
        atheris: Any = import_module("atheris")
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *rest], one_input)
        atheris.Fuzz()
    try:
        done = run(until(time.monotonic() + options.seconds), options.seed)
    except MismatchError as mismatch:
        sys.stderr.write(f"{mismatch}\n")
        return 1
    sys.stdout.write(f"{done} inputs, no mismatch\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
