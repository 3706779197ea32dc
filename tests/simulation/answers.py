"""What a provider answers in one schedule: bytes in its dialect, how they are cut and timed, and how they end."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final, Literal, NamedTuple, TypeAlias

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Frame, encode_frames
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.wire.frames import Cutter
from tokenwire.wire.lines import LineCutter

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
_CHAT = ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai")
_FOLDERS: Final = {
    "openai.chat": _CHAT,
    "openai.responses": ("openai-responses",),
    "anthropic": ("anthropic",),
    "gemini": ("gemini",),
    "ollama": ("ollama",),
}
#: Every dialect that providers speak.
SPOKEN: Final = tuple(_FOLDERS)

#: How an answer's body ends. ``clean``: where HTTP says; ``fin``, ``reset``: cut there; ``silent``: never; ``kept``:
#: whole, and yet the connection stays open as if more would come.
Ending: TypeAlias = Literal["clean", "fin", "reset", "silent", "kept"]

_TEXTS: Final = (
    "Hello", " world", ",", "\n\n", " 12", "é", "日本", "👍🏽", ' "quoted"', " \\ / ", "\t", "<b>", " a longer run of",
    "data: x", ": hb", "\u2028", "\u0000", "[DONE]", " ", "x", "🤷", "\r\n", "</script>", "0", "}", '"}',
)  # fmt: skip
_ARGUMENTS: Final = ('{"city":"Oslo"}', "{}", '{"a":[1,2,{"b":"é\\n"}],"q":"\\u00e9\\""}')


class Write(NamedTuple):
    """*data* of the body, *delay* seconds after what came before; *chunked* as one piece."""

    delay: float
    data: bytes


class Play(NamedTuple):
    """One answer of the provider.

    Attributes:
        status: of the head; other than 200 with *body* as what it says.
        wait: seconds before the head.
        framing: how the body says where it ends.
    """

    status: int
    wait: float
    body: bytes
    writes: list[Write]
    framing: Literal["chunked", "close", "length"]
    ending: Ending
    content_type: str


class Script(NamedTuple):
    """What the provider does for one model; *plays*: for each request, the last one for all further ones."""

    dialect: Dialect
    plays: list[Play]


def cut(dialect: Dialect, body: bytes) -> tuple[list[bytes], int]:
    """The entries that a log has of *body*, read at once, which is the oracle of all ways to read it; and how many of
    them are whole whatever may follow."""
    cutter = Cutter() if dialect.framing == "sse" else LineCutter()
    entries = list(cutter.feed(body))
    sure = len(entries)
    return entries + list(cutter.close()), sure


def script(random: Random, name: str) -> Script:
    """An answer in the dialect *name*, with what may go wrong on the way."""
    dialect = dialects.get(name)
    plays = []
    if random.random() < 0.06:
        plays.append(_refusal(random, dialect) if random.random() < 0.5 else _play(random, dialect, b"", "reset"))
    body = _recorded(random, name) if random.random() < 0.3 else _made(random, dialect)
    body, ending = _spoilt(random, dialect, body)
    plays.append(_play(random, dialect, body, ending))
    return Script(dialect, plays)


# ---------------------------------------------------------------------------------------------- what is said


@cache
def _recordings(name: str) -> list[bytes]:
    suffix = "*.sse" if dialects.get(name).framing == "sse" else "*.ndjson"
    return [path.read_bytes() for folder in _FOLDERS[name] for path in sorted((FIXTURES / folder).glob(suffix))]


def _recorded(random: Random, name: str) -> bytes:
    return random.choice(_recordings(name))


def _made(random: Random, dialect: Dialect) -> bytes:
    deltas = _deltas(random, several=dialect.name == "openai.chat")
    encoder = dialect.encoder("st_provider", 1_763_600_000.0, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return wire(dialect, frames + encoder.close(Terminal("completed", "stop", None, None, None)))


def wire(dialect: Dialect, frames: list[Frame]) -> bytes:
    if dialect.framing == "ndjson":
        return b"".join(frame.data.encode() + b"\n" for frame in frames)
    return encode_frames(frames)


def _deltas(random: Random, *, several: bool) -> list[Delta]:
    """A whole answer."""
    choices = 2 if several and random.random() < 0.15 else 1
    said: list[list[Delta]] = [_choice(random, index) for index in range(choices)]
    deltas: list[Delta] = []
    while any(said):
        deltas.append(random.choice([each for each in said if each]).pop(0))
    if random.random() < 0.6:
        deltas.append(Usage(input=random.randrange(1, 99), output=random.randrange(1, 99)))
    return deltas


def _choice(random: Random, index: int) -> list[Delta]:
    deltas: list[Delta] = [Started("resp_1", "m", 1_763_600_000.0, index)]
    for block in range(random.choice((1, 1, 1, 2, 3))):
        kind = random.choice(("text", "text", "text", "reasoning", "call"))
        if kind == "call":
            deltas.append(ToolCallStarted(f"call_{index}_{block}", "weather", index, block))
            arguments = random.choice(_ARGUMENTS)
            while arguments:
                size = random.randrange(1, len(arguments) + 1)
                deltas.append(ToolCallDelta(arguments[:size], index, block))
                arguments = arguments[size:]
            deltas.append(ToolCallEnded(index, block))
        else:
            make = TextDelta if kind == "text" else ReasoningDelta
            # Once in a while so many that a log packs them, and lets go of some.
            length = 150 if random.random() < 0.03 else random.choice((1, 4, 12, 30))
            deltas += [make(random.choice(_TEXTS), index, block) for _ in range(length)]
    called = any(isinstance(delta, ToolCallStarted) for delta in deltas)
    deltas.append(Finished("tool_use" if called else "stop", None, index))
    return deltas


# ---------------------------------------------------------------------------------------------- what goes wrong


def _spoilt(random: Random, dialect: Dialect, body: bytes) -> tuple[bytes, Ending]:
    """*body* with what providers and networks make of it, and how it ends."""
    entries, _ = cut(dialect, body)
    ending: Ending = random.choice(("clean", "clean", "clean", "clean", "kept"))
    what = random.random()
    if what < 0.08:  # it fails in the midst
        at = random.randrange(len(entries) + 1)
        failed = Failed("overloaded", "it broke", True, 529)
        encoder = dialect.encoder("st_provider", 1_763_600_000.0, "m")
        body = b"".join(entries[:at]) + wire(dialect, encoder.close(Terminal("failed", None, None, failed)))
    elif what < 0.16:  # the end is missing
        body = b"".join(entries[:-1])
        ending = "clean" if random.random() < 0.5 else "silent"
    elif what < 0.26:  # the connection breaks
        body = body[: random.randrange(len(body) + 1)]
        ending = random.choice(("fin", "reset", "silent"))
    if dialect.framing == "sse" and b"\r" not in body:
        if random.random() < 0.15:
            body = _commented(random, body)
        if random.random() < 0.1:
            body = body.replace(b"\n", b"\r\n")
    return body, ending


def _commented(random: Random, body: bytes) -> bytes:
    """With comments between the events, which are no events."""
    parts = re.split(rb"(?<=\n\n)", body)
    return b"".join(part + (b": ping\n\n" if random.random() < 0.2 else b"") for part in parts)


def _refusal(random: Random, dialect: Dialect) -> Play:
    status = random.choice((429, 500, 503, 400))
    body = dialect.error_body(Failed("overloaded", "not now", True, status), status)
    return Play(status, 0.0, body, [Write(0.0, body)], "length", "clean", "application/json")


def _play(random: Random, dialect: Dialect, body: bytes, ending: Ending) -> Play:
    wait = random.choice((0.0, 0.0, 0.05, 1.0))
    framing: Literal["chunked", "close"] = "close" if random.random() < 0.08 else "chunked"
    return Play(200, wait, body, _writes(random, dialect, body), framing, ending, dialect.content_type)


def _writes(random: Random, dialect: Dialect, body: bytes) -> list[Write]:
    """How the body is written: a frame at a time, several, or cut anywhere."""
    how = random.choice(("frames", "frames", "frames", "bursts", "bytes"))
    if how == "bytes":
        places = sorted(random.randrange(len(body) + 1) for _ in range(random.choice((1, 5, 40))))
        edges = [0, *places, len(body)]
        pieces = [body[start:end] for start, end in pairwise(edges)]
    else:
        end = rb"(?<=\n\n)" if dialect.framing == "sse" and b"\r" not in body else rb"(?<=\n)"
        if b"\r\n\r\n" in body:
            end = rb"(?<=\r\n\r\n)"
        pieces = re.split(end, body)
        if how == "bursts":
            joined: list[bytes] = []
            while pieces:
                count = random.choice((1, 3, 8))
                joined.append(b"".join(pieces[:count]))
                del pieces[:count]
            pieces = joined
    gap = random.choice((0.0, 0.001, 0.02, 0.02, 0.1))
    pause = random.choice((0.0, 0.01, 0.05))
    return [
        Write(random.choice((0.3, 1.5, 4.0)) if random.random() < pause else gap * random.random() * 2, piece)
        for piece in pieces
        if piece
    ]
