"""conformance/DIALECT.json, made of the recorded answers: what each is in native events."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.translation.answers import CREATED, MODEL, STREAM, STREAMS, decode, fold, terminal_of

from tokenwire import dialects

FOLDER: Final = Path(__file__).parents[2] / "conformance"

#: The dialects of which there are recorded answers.
NAMES: Final = sorted({case.dialect for case in STREAMS})


def projection(dialect: str, chunks: list[bytes]) -> list[list[Any]]:
    """The native events of a body of *dialect*, each its name and its data."""
    deltas = decode(dialects.get(dialect), chunks)
    encoder = dialects.get("native").encoder(STREAM, CREATED, MODEL)
    frames = [frame for delta in deltas for frame in encoder.feed(delta)] + encoder.close(terminal_of(fold(deltas)))
    return [[frame.event, msgspec.json.decode(frame.data)] for frame in frames]


def wire_of(case: dict[str, Any]) -> bytes:
    """The bytes of a case."""
    if "wire_base64" in case:
        return base64.b64decode(case["wire_base64"])
    return str(case["wire"]).encode()


def document(dialect: str) -> bytes:
    """The whole file of *dialect*."""
    found: dict[str, Any] = {
        "about": "Recorded answers of providers, and what each is in native events. Read by the Python and the "
        "TypeScript tests.",
        "dialect": dialect,
        "wire_means": "The body, in UTF-8 (wire_base64 where it is none). However it is cut, the events are the same.",
        "native_means": "Name and data of every event from an encoder that was given stream, created and model below, "
        "and whose stream ended as the answer did; native.schema.json is their schema. Times are not told.",
        "stream": STREAM,
        "created": CREATED,
        "model": MODEL,
        "cases": [_case(case.path, case.body, dialect) for case in STREAMS if case.dialect == dialect],
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def _case(path: str, body: bytes, dialect: str) -> dict[str, Any]:
    try:
        wire = {"wire": body.decode()}
    except UnicodeDecodeError:
        wire = {"wire_base64": base64.b64encode(body).decode()}
    return {"name": path, **wire, "native": projection(dialect, [body])}
