"""How fast is our SSE decoder, next to those that applications use?

    python bench/sse_decoders.py [--megabytes 20] [--rounds 5] [--shape chat|messages|crlf]

Decodes a recording that is made up, from a fixed seed, in the image of model streams: events of 250 to 300 bytes, one
in thirty with text beyond ASCII. ``chat`` has one data line an event (OpenAI Chat), ``messages`` a type and a data line
(Anthropic, OpenAI Responses), ``crlf`` is chat with CRLF (Gemini). Chunks are one event each (a provider that flushes
every token), 1460 bytes (one TCP segment on Ethernet) or 64 KiB (a full read of a buffered upstream).

Every decoder gets the same chunks of bytes and does the same work: bytes to event objects, which are counted and
dropped. Each is first checked: "differs" beside a figure means that it made other events of the recording.

What the figures do not show: the best of some rounds on one machine, decoders taking turns; only ratios within one run
mean much. Node is timed warm, after some thousand events, and hands over strings that point into the chunk where
Python's are copies: part of its work is put off until someone reads the text.

eventsource-parser is run if ``TOKENWIRE_EVENTSOURCE_PARSER`` names a folder in which ``npm install eventsource-parser``
was run; ``TOKENWIRE_NODE`` names another node than the one on the path.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from tokenwire.wire import sse

SIZES = {"event": 0, "1460 B": 1460, "64 KiB": 65536}
SHAPES = ("chat", "messages", "crlf")
NODE_SCRIPT = Path(__file__).with_name("eventsource_parser.mjs")

#: Chunks -> the data of each event, lazily: what is timed is running this to its end.
Decode = Callable[[Iterable[bytes]], Iterator[Any]]


def recording(shape: str, size: int) -> list[bytes]:
    """Events of *shape*, *size* bytes or a little more in all. Equal arguments give equal bytes."""
    rng = random.Random(20)
    ascii_words = [
        "the",
        " stream",
        " of",
        " tokens",
        ",",
        " then",
        "\\n\\n",
        " a",
        " model",
        "'s",
        " answer",
        " 42",
    ]
    other_words = [" “quoted”", " café", " 你好", " 😀", " —"]
    events: list[bytes] = []
    total = 0
    while total < size:
        word = rng.choice(other_words if rng.random() < 1 / 30 else ascii_words)
        padding = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randint(2, 12)))
        if shape == "messages":
            event = (
                'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"content_block":'
                f'{{"type":"text_delta","text":"{word}"}},"output_index":0,"sequence_number":{len(events)},'
                f'"item_id":"msg_0a1b2c3d4e5f60718293a4b5c6d7e8f9","logprobs":[],"obfuscation":"{padding}"}}\n\n'
            )
        else:
            event = (
                'data: {"id":"chatcmpl-C0ffeeC0ffeeC0ffeeC0ffeeC0f","object":"chat.completion.chunk",'
                '"created":1763600000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":'
                f'"fp_0123456789","choices":[{{"index":0,"delta":{{"content":"{word}"}},"logprobs":null,'
                f'"finish_reason":null}}],"obfuscation":"{padding}"}}\n\n'
            )
        wire = event.replace("\n", "\r\n").encode() if shape == "crlf" else event.encode()
        events.append(wire)
        total += len(wire)
    return events


def cut(events: list[bytes], size: int) -> list[bytes]:
    if not size:
        return events
    wire = b"".join(events)
    return [wire[start : start + size] for start in range(0, len(wire), size)]


def tokenwire_decode(chunks: Iterable[bytes]) -> Iterator[sse.Event]:
    decoder = sse.Decoder()
    for chunk in chunks:
        yield from decoder.feed(chunk)
    yield from decoder.close()


def peers() -> dict[str, Decode]:
    """The Python decoders that are installed, by name; says which are not."""
    found: dict[str, Decode] = {}
    try:
        internals: Any = import_module("httpx_sse._decoders")
        text_decoder: Any = import_module("httpx._decoders").TextDecoder

        def httpx_sse(chunks: Iterable[bytes]) -> Iterator[Any]:
            # What EventSource.iter_sse does, without the HTTP response around it.
            text, lines, events = text_decoder(), internals.SSELineDecoder(), internals.SSEDecoder()
            for chunk in chunks:
                for line in lines.decode(text.decode(chunk)):
                    event = events.decode(line)
                    if event is not None:
                        yield event

        found[f"httpx-sse {metadata.version('httpx-sse')}"] = httpx_sse
    except ImportError as error:
        print(f"httpx-sse: not run: {error}")
    try:
        openai: Any = import_module("openai._streaming")

        def openai_sdk(chunks: Iterable[bytes]) -> Iterator[Any]:
            events: Iterator[Any] = openai.SSEDecoder().iter_bytes(iter(chunks))
            return events

        found[f"openai {metadata.version('openai')}"] = lambda chunks: openai.SSEDecoder().iter_bytes(iter(chunks))
    except ImportError as error:
        print(f"openai: not run: {error}")
    return found


def digest(decode: Decode, chunks: list[bytes]) -> str:
    seen = hashlib.sha256()
    for event in decode(chunks):
        seen.update(event.data.encode() + b"\n")
    return seen.hexdigest()


def seconds(decode: Decode, chunks: list[bytes]) -> float:
    start = time.perf_counter()
    if decode is tokenwire_decode:  # gives lists; the generator around them would be timed as part of it
        decoder, count = sse.Decoder(), 0
        for chunk in chunks:
            count += len(decoder.feed(chunk))
    else:
        count = sum(1 for _ in decode(chunks))
    took = time.perf_counter() - start
    if not count:
        raise RuntimeError("no events")
    return took


def find_node() -> tuple[str, Path] | None:
    """The node binary and the package's folder; says what is missing."""
    node = os.environ.get("TOKENWIRE_NODE") or shutil.which("node")
    if node is None:
        print("eventsource-parser: not run: no node on the path, and TOKENWIRE_NODE is not set")
        return None
    place = os.environ.get("TOKENWIRE_EVENTSOURCE_PARSER")
    if not place:
        print("eventsource-parser: not run: TOKENWIRE_EVENTSOURCE_PARSER is not set; `npm install eventsource-parser`")
        print("  in an empty folder and name that folder")
        return None
    package = Path(place) / "node_modules" / "eventsource-parser"
    if not (package / "package.json").is_file():
        print(f"eventsource-parser: not run: no package.json in {package}")
        return None
    return node, package


def run_node(node: str, package: Path, file: Path) -> dict[str, Any]:
    sizes = ",".join(str(size) for size in SIZES.values())
    command = [node, str(NODE_SCRIPT), str(package), str(file), sizes, "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure(shape: str, size: int, rounds: int, decoders: dict[str, Decode], node: tuple[str, Path] | None) -> None:
    events = recording(shape, size)
    wire = b"".join(events)
    chunks = {cutting: cut(events, cut_size) for cutting, cut_size in SIZES.items()}
    expected = digest(tokenwire_decode, [wire])
    wrong = {
        (name, cutting)
        for name, decode in decoders.items()
        for cutting in SIZES
        if digest(decode, chunks[cutting]) != expected
    }
    best: dict[str, dict[str, float]] = {}

    def keep(name: str, cutting: str, took: float) -> None:
        row = best.setdefault(name, {})
        row[cutting] = min(row.get(cutting, took), took)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording.sse"
        file.write_bytes(wire)
        for _ in range(rounds):
            for cutting in SIZES:
                for name, decode in decoders.items():
                    keep(name, cutting, seconds(decode, chunks[cutting]))
            if node:
                answer = run_node(*node, file)
                name = f"eventsource-parser {answer['version']}, node {answer['node']}"
                for cutting, result in zip(SIZES, answer["results"], strict=True):
                    keep(name, cutting, result["seconds"])
                    if result["sha256"] != expected:
                        wrong.add((name, cutting))
    print(f"\n{shape}: {len(events)} events, {len(wire) / len(events):.0f} bytes each; MB/s, and ours is x times that")
    print(f"{'':44}" + "".join(f"{cutting:>18}" for cutting in SIZES))
    for name, row in best.items():
        cells = []
        for cutting, took in row.items():
            ratio = f"{took / best['tokenwire'][cutting]:5.1f}x" if name != "tokenwire" else ""
            cells.append(f"{len(wire) / took / 1e6:11.0f} {'differs' if (name, cutting) in wrong else ratio:6}")
        print(f"{name:44}" + "".join(cells))


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare SSE decoders on a recording of model streams.")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given more than once; default: all")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}")
    decoders = {"tokenwire": tokenwire_decode, **peers()}
    node = find_node()
    for shape in options.shape or SHAPES:
        measure(shape, int(options.megabytes * 1e6), options.rounds, decoders, node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
