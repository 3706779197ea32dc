"""wire/envelope on whole streams: the fixtures, and frames as live providers send them."""

from __future__ import annotations

import gc
import json
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path as File
from typing import TYPE_CHECKING

import pytest

from tokenwire.wire.envelope import MAX_ATTEMPTS, MAX_TEMPLATES, PADDING, Codec, Packed

if TYPE_CHECKING:
    from tokenwire.wire.json_spans import Path

FIXTURES = File(__file__).parents[1] / "fixtures"

CHAT: tuple[Path, ...] = (
    ("choices", 0, "delta", "content"),
    ("choices", 0, "delta", "reasoning_content"),
    ("choices", 0, "delta", "reasoning"),
    ("choices", 0, "delta", "tool_calls", 0, "function", "arguments"),
    ("obfuscation",),
)
MESSAGES: tuple[Path, ...] = (("delta", "text"), ("delta", "thinking"), ("delta", "partial_json"), PADDING)
HOLES: dict[str, tuple[Path, ...]] = {
    "anthropic": MESSAGES,
    "ollama": (("message", "content"), ("created_at",)),
    "gemini": (("candidates", 0, "content", "parts", 0, "text"),),
    "openai-responses": (("delta",), ("obfuscation",), ("sequence_number",)),
}
STREAMS = sorted(file for file in FIXTURES.glob("*/*") if file.suffix in (".sse", ".ndjson"))


def split(file: File) -> list[bytes]:
    """The fixture, cut behind each blank line, or behind each line."""
    end = rb"\n" if file.suffix == ".ndjson" else rb"(?:\r\n\r\n|\n\n|\r\r)"
    wire = file.read_bytes()
    frames = re.findall(rb"(?s).+?%b|.+\Z" % end, wire)
    assert b"".join(frames) == wire
    return frames


@pytest.mark.untraced
@pytest.mark.parametrize("file", STREAMS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_fixture_comes_back_whatever_the_runs(file: File) -> None:
    holes = HOLES.get(file.parent.name, CHAT)
    frames = split(file) * 2  # so that every kind is seen twice
    whole = Codec(holes)
    assert whole.pack(frames).unpack() == frames
    for length in range(1, len(frames)):
        codec = Codec(holes)
        runs = [codec.pack(frames[at : at + length]) for at in range(0, len(frames), length)]
        assert [frame for run in runs for frame in run.unpack()] == frames
        done = codec.statistics()
        assert done.hits + done.misses == len(frames)
        assert done.attempts <= MAX_TEMPLATES * MAX_ATTEMPTS
    for cut in range(len(frames)):
        codec = Codec(holes)
        assert codec.pack(frames[:cut]).unpack() + codec.pack(frames[cut:]).unpack() == frames


def test_the_fixtures_are_all_there() -> None:
    assert len(STREAMS) >= 60
    assert {file.parent.name for file in STREAMS} >= HOLES.keys()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("openai-chat/text.sse", 10),
        ("anthropic/text.sse", 4),
        ("deepseek/reasoning.sse", 2),
        ("ollama/text.ndjson", 2),
    ],
)
def test_text_frames_of_fixtures_are_packed(name: str, least: int) -> None:
    file = FIXTURES / name
    codec = Codec(HOLES.get(file.parent.name, CHAT))
    codec.pack(split(file))
    assert codec.statistics().hits >= least


# -- live streams: 12 % of the words with escapes, 10 % not ASCII, and the providers' masking of lengths

PLAIN = [
    "the",
    "stream",
    " of",
    " tokens",
    "ing",
    " arrives",
    " quickly",
    " and",
    ",",
    ".",
    " server",
    " event",
]
ESCAPED = ["\\n", "\\n\\n", '\\"quoted\\"', "\\t"]
UNICODE = [" —", " café", " 流", "🌊"]


def words(tokens: int, stamped: bool) -> Iterator[str]:
    dice = random.Random(12345)
    for _ in range(tokens):
        roll = dice.randrange(100)
        word = dice.choice(ESCAPED if roll < 12 else UNICODE if roll < 22 else PLAIN)
        yield f"@{dice.randrange(10**12):020d}@ {word}" if stamped else word


def chat(tokens: int, *, stamped: bool = False, obfuscated: bool = True) -> Iterator[tuple[bytes, int]]:
    """Frames, each with the bytes of its text."""
    dice = random.Random(7)
    for at, word in enumerate(words(tokens, stamped)):
        role = '"role":"assistant",' if at == 0 else ""
        mask = f',"obfuscation":"{"aZ3kQ9xLm2Pt"[: dice.randint(1, 12)]}"' if obfuscated else ""
        frame = (
            'data: {"id":"chatcmpl-abc123","object":"chat.completion.chunk","created":1763600000,'
            f'"model":"gpt-4o","system_fingerprint":"fp_0","choices":[{{"index":0,"delta":{{{role}"content":"{word}"}},'
            f'"logprobs":null,"finish_reason":null}}]{mask}}}\n\n'
        )
        yield frame.encode(), len(word.encode())


def messages(tokens: int, *, stamped: bool = False) -> Iterator[tuple[bytes, int]]:
    dice = random.Random(7)
    for word in words(tokens, stamped):
        frame = (
            'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
            f'"delta":{{"type":"text_delta","text":"{word}"}}{" " * dice.randrange(12)}}}\n\n'
        )
        yield frame.encode(), len(word.encode())


Make = Callable[[int], Iterator[tuple[bytes, int]]]
LIVE = [
    pytest.param(chat, CHAT, id="chat"),
    pytest.param(lambda n: chat(n, stamped=True), CHAT, id="chat-stamped"),
    pytest.param(lambda n: chat(n, obfuscated=False), CHAT, id="chat-plain"),
    pytest.param(messages, MESSAGES, id="messages"),
    pytest.param(lambda n: messages(n, stamped=True), MESSAGES, id="messages-stamped"),
]


@pytest.mark.parametrize(("make", "holes"), LIVE)
def test_text_frames_of_live_streams_are_packed(make: Make, holes: tuple[Path, ...]) -> None:
    frames = [frame for frame, _ in make(1000)]
    for frame in frames:
        json.loads(frame[frame.index(b"{") :])
    codec = Codec(holes)
    unpacked: list[bytes] = []
    for at in range(0, len(frames), 256):
        unpacked += codec.pack(frames[at : at + 256]).unpack()
    assert unpacked == frames
    found = codec.statistics()
    assert found.hits >= 998  # the budget is 900
    assert found.attempts <= 3


@pytest.mark.untraced
@pytest.mark.parametrize(("make", "holes"), LIVE)
def test_memory_beyond_the_text_stays_in_the_budget(make: Make, holes: tuple[Path, ...]) -> None:
    stream = make(1000)
    text = 0
    kept: list[Packed] = []
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        codec = Codec(holes)
        run: list[bytes] = []
        for frame, size in stream:
            text += size
            run.append(frame)
            if len(run) == 256:
                kept.append(codec.pack(run))
                run = []
        kept.append(codec.pack(run))
        del run, frame
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Everything: codec, templates, numbers, obfuscation or padding. The log's whole budget is 48.
    assert (held - text) / 1000 <= 16
    # Templates and codec are not counted, a few KB; nor is the list of ours.
    assert 0.85 * held - 4096 <= sum(packed.size for packed in kept) <= held


def test_the_size_of_plain_frames_is_accounted_for() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        packed = Codec(()).pack([b"x" * number for number in range(200, 456)])
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.9 * held <= packed.size <= 1.1 * held
