"""What the tests of the two dialects towards clients share: recorded streams, decoded, and what a fold of them says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, encode_frames
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

FIXTURES = Path(__file__).parent.parent / "fixtures"
CHAT = ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai")

#: The folders of recordings -> the dialect that they are in.
FOLDERS = {
    **dict.fromkeys(CHAT, "openai.chat"),
    "anthropic": "anthropic",
    "gemini": "gemini",
    "openai-responses": "openai.responses",
}


def recorded() -> list[str]:
    """All recorded streams of the dialects that there are, as ``folder/name.sse``."""
    folders = [folder for folder, name in FOLDERS.items() if name in dialects.names()]
    paths = [path for folder in folders for path in (FIXTURES / folder).glob("*.sse")]
    return sorted(str(path.relative_to(FIXTURES)) for path in paths)


def deltas_of(case: str) -> list[Delta]:
    """The deltas of a recorded stream."""
    return read(dialects.get(FOLDERS[case.partition("/")[0]]), (FIXTURES / case).read_bytes())


def read(dialect: Dialect, body: bytes) -> list[Delta]:
    decoder, parser = dialect.decoder(), sse.Decoder()
    events = parser.feed(body) + parser.close(lenient=True)
    return [delta for event in events for delta in decoder.feed(event)] + decoder.close()


def fold_of(deltas: list[Delta]) -> Transcript:
    fold = Transcript()
    for delta in deltas:
        fold.apply(delta)
    return fold


def end_of(deltas: list[Delta]) -> Terminal:
    """How the engine would end a stream of these deltas."""
    failure = next((delta for delta in deltas if isinstance(delta, Failed)), None)
    return Terminal("failed", error=failure) if failure else Terminal("completed")


def body_of(dialect: Dialect, deltas: list[Delta], terminal: Terminal | None = None) -> bytes:
    """The whole body that a reader from the start is sent."""
    encoder = dialect.encoder("st_1", 1.0, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return encode_frames(frames + encoder.close(terminal or end_of(deltas)))


def joined(dialect: Dialect, deltas: list[Delta], at: int, terminal: Terminal | None = None) -> bytes:
    """What somebody is sent who joins after *at* deltas: the prefix, and the tail of another encoder."""
    ahead, behind = dialect.encoder("st_1", 1.0, "m"), dialect.encoder("st_1", 1.0, "m")
    prefix = ahead.prefix(fold_of(deltas[:at]))
    for delta in deltas[:at]:
        behind.feed(delta)
    end = terminal or end_of(deltas)
    tails = [
        [frame for delta in deltas[at:] for frame in encoder.feed(delta)] + encoder.close(end)
        for encoder in (behind.copy(), ahead)
    ]
    assert tails[0] == tails[1]  # whoever wrote the prefix is in the same state
    return encode_frames(prefix + tails[0])


def said(fold: Transcript, lost: Callable[[Any], Any] = lambda reason: reason) -> dict[str, Any]:
    """What a translation must keep. *lost*: what becomes of a reason."""
    choice, usage, failed = fold.choice(), fold.usage, fold.failed
    runs: list[tuple[str, str]] = []
    for kind, block, text, maker in choice.segments():
        if kind in ("text", "reasoning", "refusal") and text:
            if runs and runs[-1][0] == kind:
                runs[-1] = kind, runs[-1][1] + text
            else:
                runs.append((kind, text))
        elif kind == "signature" and text and block not in choice.tool_calls:
            runs.append((f"signature of {maker}", text))
    # A call's signature belongs to the call, wherever it was told.
    proofs = {(block, text, maker) for kind, block, text, maker in choice.segments() if block in choice.tool_calls}
    calls = [
        (call.id, call.name, json.loads(call.arguments or "{}") if call.ended else None)
        for call in choice.tool_calls.values()
    ]
    return {
        "runs": runs,
        "signatures of calls": sorted((text, maker) for _, text, maker in proofs if text),
        "calls": calls,
        "results": [
            (call.id, call.result.content, call.result.error)
            for call in choice.tool_calls.values()
            if call.result is not None
        ],
        "citations": [citation.data for citation in choice.citations],
        "reason": None if failed or choice.reason is None else lost(choice.reason),
        "usage": None if usage is None else (usage.input, usage.output, usage.cached_input, usage.reasoning),
        "failed": None if failed is None else (failed.code, failed.message, failed.retryable, failed.upstream_status),
    }


def readable(text: str) -> bool:
    """Whether a call's arguments are JSON."""
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    return True


BLOCKS = st.integers(0, 2)
_SAYING: dict[str, type[TextDelta | ReasoningDelta | RefusalDelta]] = {
    "text": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta,
}  # fmt: skip
TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> list[Delta]:
    """Legal streams, in any order that a decoder may bring."""
    deltas: list[Delta] = [Started()] if draw(st.booleans()) else []
    calls: dict[int, bool] = {}
    proven: set[int] = set()
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from([*_SAYING, "signature", "citation", "call", "usage", "result"]))
        if kind == "usage":
            deltas.append(Usage(input=draw(st.integers(0, 9)), output=number))
        elif kind == "citation":
            deltas.append(Citation({"url": draw(TEXTS)}, block=draw(BLOCKS)))
        elif kind == "signature":
            block = draw(st.sampled_from([0, 1, 2, *sorted(calls.keys() - proven)]))
            proven.add(block)  # of a call there is one
            deltas.append(ReasoningSignature(draw(TEXTS), block=block, dialect="anthropic"))
        elif kind == "result":
            for block in [block for block, ended in calls.items() if ended][-1:]:
                content = draw(st.sampled_from(["x", "{}", '[1,"\u2028"]', "{", ""]))
                deltas.append(ToolResult(f"c{block}", "f", content, draw(st.booleans()), block=block))
        elif kind == "call":
            open_ = [block for block, ended in calls.items() if not ended]
            block = draw(st.sampled_from([10 + number, *open_]))
            if block not in calls:
                calls[block] = False
                deltas.append(ToolCallStarted(f"c{block}", "f", block=block))
            elif draw(st.booleans()):
                calls[block] = True
                deltas.append(ToolCallEnded(block=block))
            else:
                deltas.append(ToolCallDelta(draw(st.sampled_from(['{"a":', "1", "}", "{}"])), block=block))
        else:
            deltas.append(_SAYING[kind](draw(TEXTS), block=draw(BLOCKS)))
    return deltas
