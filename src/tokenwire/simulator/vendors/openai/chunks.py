"""Chat Completions on the wire: ids, chunks and the whole object (reference sections 3.3, 3.4 and 14)."""

from __future__ import annotations

import random
import string
from typing import Any

from tokenwire.simulator.answer import Call, Choice
from tokenwire.simulator.vendors.json_bytes import json_string, to_json

_BASE62 = string.digits + string.ascii_letters

#: Padding, made beforehand: drawing the letters anew would cost more than the rest of a chunk.
PADDING = tuple(
    b',"obfuscation":"%b"' % "".join(source.choices(_BASE62, k=source.randint(1, 16))).encode()
    for source in [random.Random(0)]
    for _ in range(1024)
)
_PLAIN_ENDS = (b"}\n\n",)
_PADDED_ENDS = tuple(padding + b"}\n\n" for padding in PADDING)

# Alternatives for top_logprobs; what they are doesn't matter, that they differ does.
_ALTERNATIVES = (" the", " a", " of", "\n", " and", ",", " to", ".", " in", "é", " is", " that", "流", " it", " for")

DONE = b"data: [DONE]\n\n"


def new_id(prefix: str, length: int, rng: random.Random) -> str:
    """*prefix* and *length* base-62 characters."""
    return prefix + "".join(rng.choices(_BASE62, k=length))


class ChunkWriter:
    """Writes the events of one stream; all of them share id, created, model and fingerprint.

    Args:
        usage: whether the client asked for usage: then every chunk has the field, null but in the last one.
        padding: whether chunks carry ``obfuscation``.
        logprobs: number of alternatives for each token, None if no log-probabilities were asked for.
    """

    def __init__(
        self,
        *,
        created: int,
        model: str,
        rng: random.Random,
        usage: bool,
        padding: bool,
        logprobs: int | None,
    ) -> None:
        self.id = new_id("chatcmpl-", 29, rng)
        self._rng = rng
        self._ends = _PADDED_ENDS if padding else _PLAIN_ENDS
        self._bits = (len(self._ends) - 1).bit_length()
        self._logprobs = logprobs
        base = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "service_tier": "default",
            "system_fingerprint": fingerprint(model),
        }
        self._base = b"data: " + to_json(base)[:-1]
        self._usage = b',"usage":null' if usage else b""
        self._index = -1
        self._before = b""
        self._behind = b'},"logprobs":null,"finish_reason":null}]' + self._usage

    def start(self, index: int, choice: Choice) -> bytes:
        """The event that opens a choice; a single tool call is opened along with it."""
        delta: dict[str, Any] = {"role": "assistant", "content": None if choice.calls else ""}
        if len(choice.calls) == 1:
            delta["tool_calls"] = [self._call(0, choice.calls[0])]
        delta["refusal"] = None
        logprobs = b'{"content":[],"refusal":null}' if self._logprobs is not None else b"null"
        return self._chunk(index, to_json(delta), logprobs)

    def text(self, index: int, piece: str) -> bytes:
        if self._logprobs is not None:
            return self._chunk(index, b'{"content":%b}' % json_string(piece), to_json(self.logprobs([piece])))
        # Nearly all chunks are these, so what never changes is put together once: 0.6 us less for each.
        if index != self._index:
            self._index = index
            self._before = b'%b,"choices":[{"index":%d,"delta":{"content":' % (self._base, index)
        return self._before + json_string(piece) + self._behind + self._end()

    def call(self, index: int, number: int, call: Call) -> bytes:
        """The event that opens the call *number* of a choice: id and name, no arguments yet."""
        return self._chunk(index, to_json({"tool_calls": [self._call(number, call)]}))

    def arguments(self, index: int, number: int, piece: str) -> bytes:
        fragment = json_string(piece)
        return self._chunk(index, b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (number, fragment))

    def finish(self, index: int, reason: str) -> bytes:
        return self._chunk(index, b"{}", finish=b'"%b"' % reason.encode())

    def usage(self, usage: dict[str, Any]) -> bytes:
        return self._base + b',"choices":[],"usage":' + to_json(usage) + self._end()

    def logprobs(self, pieces: list[str]) -> dict[str, Any]:
        return {"content": logprobs_of(pieces, self._logprobs or 0, self._rng), "refusal": None}

    def _call(self, number: int, call: Call) -> dict[str, Any]:
        return {
            "index": number,
            "id": new_id("call_", 24, self._rng),
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }

    def _chunk(self, index: int, delta: bytes, logprobs: bytes = b"null", finish: bytes = b"null") -> bytes:
        return b'%b,"choices":[{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}]%b%b' % (
            self._base,
            index,
            delta,
            logprobs,
            finish,
            self._usage,
            self._end(),
        )

    def _end(self) -> bytes:
        return self._ends[self._rng.getrandbits(self._bits)]


def logprobs_of(pieces: list[str], count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Log-probabilities of *pieces*: likely ones, with *count* alternatives in falling order, themselves the first."""
    content = []
    for piece in pieces:
        logprob = -round(rng.expovariate(4), 6)
        top = [_token(piece, logprob)]
        others = (each for each in _ALTERNATIVES if each != piece)
        for n in range(1, count):
            other = next(others, f" {n}")
            top.append(_token(other, round(logprob - 0.75 * n, 6)))
        content.append({**_token(piece, logprob), "top_logprobs": top[:count]})
    return content


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "surrogatepass"))}


def fingerprint(model: str) -> str:
    """The same for all answers of a model, as with a real deployment."""
    return f"fp_{random.Random(model).getrandbits(40):010x}"


def usage_of(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """The usage object with all its details."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0, "cache_write_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def whole(
    choices: list[Choice],
    *,
    created: int,
    model: str,
    rng: random.Random,
    usage: dict[str, Any],
    logprobs: int | None,
) -> bytes:
    """The ``chat.completion`` object of an answer that is not streamed."""
    writer = ChunkWriter(created=created, model=model, rng=rng, usage=False, padding=False, logprobs=logprobs)
    return to_json(
        {
            "id": writer.id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [
                {
                    "index": index,
                    "message": _message(choice, rng),
                    "logprobs": writer.logprobs(choice.pieces) if logprobs is not None and choice.pieces else None,
                    "finish_reason": choice.finish,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": usage,
            "service_tier": "default",
            "system_fingerprint": fingerprint(model),
        }
    )


def _message(choice: Choice, rng: random.Random) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.calls else "".join(choice.pieces),
        "refusal": None,
        "annotations": [],
    }
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": new_id("call_", 24, rng),
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.sent)},
            }
            for call in choice.calls
        ]
    return message
