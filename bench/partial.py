"""JSON that comes in pieces of four characters: what each piece costs, beside reading all that came again.

The peers do what their authors do: jiter is given the whole text so far after each piece, as the anthropic SDK does for
tool arguments; the openai SDK's own accumulator is given one chunk for each piece, with a response format that it
parses. They take time that grows with the text for each piece. Where a run of all pieces would take longer than a
breath, the cost of a piece is measured at evenly spaced places and multiplied, and the cell says so ("≈").

All figures are CPU time of this process, which does one thing at a time: other load on the machine is not in them, but
for the caches and clock speed that it takes away.
"""

from __future__ import annotations

import gc
import json
import random
import time
from typing import TYPE_CHECKING, Any, Final

import jiter
import msgspec

from bench.figures import median
from bench.report import Section, number
from tokenwire.library.partial import TypedPartial
from tokenwire.wire.json_schema import JsonSchema
from tokenwire.wire.partial_json import PartialJson

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.session import Session

SIZES: Final = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000}
_PIECE: Final = 4
_SAMPLES: Final = 60
#: Up to so many pieces a peer is run through whole.
_WHOLE: Final = 3_000
_WORDS: Final = ("alpha", "beta", "gamma", "delta", "lorem", "ipsum", "dolor", "naïve", "café", "größer", "東京")


class Item(msgspec.Struct):
    id: int
    name: str
    price: float
    tags: list[str]
    ok: bool
    note: str | None = None


class Answer(msgspec.Struct):
    items: list[Item]


def document(size: int) -> str:
    """Records as models write them, *size* characters or a little more."""
    chance = random.Random(size)
    items: list[Item] = []
    length = 0
    while length < size:
        words = chance.choices(_WORDS, k=22)
        note = " ".join(words[7:]) + '\n"quoted"'
        price = round(chance.random() * 100, 2)
        items.append(Item(len(items), " ".join(words[:4]), price, words[4:7], ok=True, note=note))
        length += len(json.dumps(msgspec.to_builtins(items[-1]), ensure_ascii=False)) + 2
    return json.dumps({"items": msgspec.to_builtins(items)}, ensure_ascii=False)


def _events(pieces: list[str]) -> None:
    parser = PartialJson()
    for piece in pieces:
        for _event in parser.feed(piece):
            pass
    parser.close()


def _values(pieces: list[str]) -> None:
    parser = PartialJson()
    for piece in pieces:
        for _event in parser.feed(piece):
            pass
        parser.value()
    parser.close()


_SCHEMA: Final = JsonSchema(msgspec.json.schema(Answer))


def _judged(pieces: list[str]) -> None:
    parser = PartialJson(schema=_SCHEMA)
    for piece in pieces:
        for _event in parser.feed(piece):
            pass
        parser.value()
    parser.close()


def _typed(pieces: list[str]) -> None:
    parser, typed = PartialJson(), TypedPartial(Answer)
    for piece in pieces:
        parser.feed(piece)
        typed.growing(parser.value(), open_string=parser.open_string)
    parser.close()


OURS: Final[dict[str, Callable[[list[str]], None]]] = {
    "tokenwire: events": _events,
    "tokenwire: events, value()": _values,
    "tokenwire: events, value(), schema": _judged,
    "tokenwire: instances of a struct": _typed,
}


def _jiter(before: str) -> Callable[[str], object]:
    held = before.encode()

    def add(piece: str) -> object:
        nonlocal held
        held += piece.encode()
        return jiter.from_json(held, partial_mode="trailing-strings")

    return add


def _openai(before: str) -> Callable[[str], object]:
    # Here, because it takes a second, and nobody else needs it.
    from openai.lib.streaming.chat import ChatCompletionStreamState
    from openai.types.chat import ChatCompletionChunk
    from pydantic import create_model

    def add(text: str, **more: str) -> object:
        choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": None, "logprobs": None}
        about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return state.handle_chunk(ChatCompletionChunk.model_validate({**about, "choices": [choice]}))

    state = ChatCompletionStreamState(response_format=create_model("Answer", items=(list[dict[str, Any]], ...)))
    add(before, role="assistant")
    return add


#: Given what came so far, each gives a function that takes the next piece.
PEERS: Final[dict[str, Callable[[str], Callable[[str], object]]]] = {
    "jiter: the text so far, again": _jiter,
    "openai SDK: its accumulator": _openai,
}


def whole(work: Callable[[list[str]], None], pieces: list[str]) -> float:
    """Seconds of CPU for all pieces."""
    gc.collect()
    start = time.process_time()
    work(pieces)
    return time.process_time() - start


def peer(make: Callable[[str], Callable[[str], object]], text: str, pieces: list[str]) -> tuple[float, bool]:
    """(seconds for all pieces, whether they are projected from samples)."""
    if len(pieces) <= _WHOLE:
        return whole(lambda each: _fed(make(""), each), pieces), False
    spent = 0.0
    for sample in range(_SAMPLES):
        place = int((sample + 0.5) * len(pieces) / _SAMPLES)
        add = make(text[: (place - 1) * _PIECE])
        add(pieces[place - 1])
        start = time.process_time()
        add(pieces[place])
        spent += time.process_time() - start
    return spent * len(pieces) / _SAMPLES, True


def _fed(add: Callable[[str], object], pieces: list[str]) -> None:
    for piece in pieces:
        add(piece)


def run(session: Session) -> Section:
    sizes = dict(list(SIZES.items())[:3]) if session.quick else SIZES
    section = Section(
        "partial",
        f"JSON in pieces of {_PIECE} characters: us of CPU a piece (whole document)",
        ("", *sizes),
        notes=[
            f"Medians of {session.rounds} rounds. ≈: projected from {_SAMPLES} places, as nobody wants to wait for it.",
            "The openai SDK's figure holds its other work for a chunk, the making of the chunk included.",
        ],
    )
    for make in PEERS.values():  # the first chunk of all is not the kind of work that is compared here
        make("")("{")
    found: dict[str, dict[str, list[tuple[float, bool]]]] = {name: {} for name in (*OURS, *PEERS)}
    counts = {}
    for label, size in sizes.items():
        text = document(size)
        pieces = [text[i : i + _PIECE] for i in range(0, len(text), _PIECE)]
        counts[label] = len(pieces)
        session.say(f"  {label}: {len(pieces)} pieces …")
        for _ in range(session.rounds):
            for name, work in OURS.items():
                found[name].setdefault(label, []).append((whole(work, pieces), False))
            for name, make in PEERS.items():
                found[name].setdefault(label, []).append(peer(make, text, pieces))
    for name, times in found.items():
        row, data = [name], {"name": name}
        for label, rounds in times.items():
            seconds = median([each for each, _ in rounds])
            assert seconds is not None
            projected = rounds[0][1]
            row.append(f"{number(seconds / counts[label] * 1e6)} ({'≈ ' * projected}{_time(seconds)})")
            data[label] = {"seconds": seconds, "pieces": counts[label], "projected": projected}  # type: ignore[assignment]
        section.rows.append(row)
        section.data.append(data)
    return section


def _time(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"
