"""Native events that were told to a reader behind as one, held against those that they stand for."""

from __future__ import annotations

import json
from typing import Any

PIECES = {"text": "t", "reasoning": "t", "refusal": "t", "tool_args": "json"}


def apart(data: bytes, whole: bytes) -> bytes:
    """*data*, whole native events, with what was told at once replaced by the events of *whole* for which it stands.

    *whole* is the full projection from the place on where *data* begins. Asserts that what was told at once says what
    they say, and has the id of the last of them.
    """
    if b'"events":' not in data:
        return data
    parts: list[bytes] = []
    at = 0  # in whole
    for block in data.split(b"\n\n")[:-1]:
        if block.startswith(b":"):
            parts.append(block + b"\n\n")
            continue
        kind, said, event_id = _read(block)
        count = said.pop("events", 1) if kind in PIECES else 1
        end = at
        for _ in range(count):
            end = whole.index(b"\n\n", end) + 2
        stands_for = whole[at:end]
        if count > 1:
            pieces = [_read(each) for each in stands_for.split(b"\n\n")[:-1]]
            text = PIECES[kind]
            assert said == {**pieces[0][1], text: "".join(piece[text] for _, piece, _ in pieces)}
            assert all((piece[0], {**piece[1], text: ""}) == (kind, {**said, text: ""}) for piece in pieces)
            assert event_id == pieces[-1][2]
        else:
            stands_for = block + b"\n\n"
        parts.append(stands_for)
        at = end
    return b"".join(parts)


def _read(block: bytes) -> tuple[str, dict[str, Any], str]:
    fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
    return fields["event"], json.loads(fields["data"]), fields.get("id", "")
