"""Lines of Ollama's streams, and the whole object: JSON as Go writes it, one object a line (reference, section 7.5)."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from tokenwire.simulator.vendors.json_bytes import json_string, to_json
from tokenwire.simulator.vendors.ollama.turn import Turn

# What Go's encoder escapes in strings beside what JSON asks for.
_GO = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPES = [(each.encode(), escape.encode()) for each, escape in _GO.items()]

# Alternatives for top_logprobs; what they are doesn't matter, that they differ does.
_ALTERNATIVES = (" the", " a", " of", "\n", " and", ",", " to", ".", " in", "é", " is", " that", "流", " it", " for")


def go_json(value: Any) -> bytes:
    return _go(to_json(value))


def time_text(nanoseconds: int) -> str:
    """RFC 3339 as Go has it: no zeros at the end of the fraction."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{fraction:09}".rstrip("0")
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"


class LineWriter:
    """Writes the lines of one answer.

    Args:
        generate: whether it is one of ``/api/generate``, which says all at the top.
        alternatives: number of alternatives for each token, None if no log-probabilities were asked for.
    """

    def __init__(self, model: str, rng: random.Random, *, generate: bool, alternatives: int | None) -> None:
        self._generate = generate
        self._rng = rng
        self._alternatives = alternatives
        self._model = model
        self._head = _go(b'{"model":' + json_string(model) + b',"created_at":"')
        self._open = b'","response":' if generate else b'","message":{"role":"assistant","content":'
        self._close = b"" if generate else b"}"

    def text(self, piece: str, at: int) -> bytes:
        return self._line(piece, b"", at, self._logprobs([piece]))

    def thinking(self, piece: str, at: int) -> bytes:
        return self._line("", b',"thinking":' + _go(json_string(piece)), at, self._logprobs([piece]))

    def call(self, entry: dict[str, Any], at: int) -> bytes:
        return self._line("", b',"tool_calls":[' + go_json(entry) + b"]", at, b"")

    def done(self, at: int, members: dict[str, Any]) -> bytes:
        """The last line; *members* are those from ``done_reason`` on."""
        rest = go_json({"done": True, **members})[1:]
        return b'%b%b%b""%b,%b\n' % (self._head, time_text(at).encode(), self._open, self._close, rest)

    def whole(self, turn: Turn, at: int, members: dict[str, Any]) -> bytes:
        """The object of an answer that is not streamed."""
        said: dict[str, Any] = {"response" if self._generate else "content": "".join(turn.pieces)}
        if turn.thoughts:
            said["thinking"] = "".join(turn.thoughts)
        if turn.calls:
            said["tool_calls"] = [call.entry for call in turn.calls]
        body: dict[str, Any] = {"model": self._model, "created_at": time_text(at)}
        body |= said if self._generate else {"message": {"role": "assistant", **said}}
        body |= {"done": True, **members}
        if self._alternatives is not None:
            body["logprobs"] = [self._entry(piece) for piece in [*turn.thoughts, *turn.pieces]]
        return go_json(body)

    def _line(self, content: str, more: bytes, at: int, end: bytes) -> bytes:
        said = _go(json_string(content))
        time = time_text(at).encode()
        return b'%b%b%b%b%b%b,"done":false%b}\n' % (self._head, time, self._open, said, more, self._close, end)

    def _logprobs(self, pieces: list[str]) -> bytes:
        if self._alternatives is None:
            return b""
        return b',"logprobs":' + go_json([self._entry(piece) for piece in pieces])

    def _entry(self, piece: str) -> dict[str, Any]:
        logprob = -round(self._rng.expovariate(4), 6)
        entry = _token(piece, logprob)
        if self._alternatives:
            others = (each for each in _ALTERNATIVES if each != piece)
            entry["top_logprobs"] = [_token(piece, logprob)] + [
                _token(next(others, f" {n}"), round(logprob - 0.75 * n, 6)) for n in range(1, self._alternatives)
            ]
        return entry


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "surrogatepass"))}


def _go(data: bytes) -> bytes:
    for each, escape in _ESCAPES:
        if each in data:
            data = data.replace(each, escape)
    return data
