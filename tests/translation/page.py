"""docs/translation.md, made of the code: the tables of requests, and what becomes of answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from tests.translation.answers import CREATED, MODEL, STREAM, TARGETS, decode, encode, fold, terminal_of

from tokenwire import dialects
from tokenwire.dialects.base import Aspect, Dialect
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.prompt.fit import CARRIED, FEATURES, Prompts

PAGE: Final = Path(__file__).parents[2] / "docs" / "translation.md"

_OPENING: Final = """\
# Translation

What becomes of a request, and of its answer, where the client's dialect is not the upstream's. Written from the code by
`TOKENWIRE_WRITE_TRANSLATION=1 python -m pytest tests/translation/test_page.py`; do not edit. Where both sides speak the
same dialect nothing is translated: bytes pass as they are.
"""
_REQUESTS: Final = """\
## Requests

What a request uses is *carried* into the upstream's dialect, *changed* or *dropped* with a note, or else the request is
*refused* with 400, which names the caller's own field. A member of a request that its dialect's reader does not know is
refused, too, unless it is listed as harmless: then it is dropped with a note.
"""
_ANSWERS: Final = """\
## Answers

### What a dialect has no words for

Everything of an answer reaches the client, but for what stands here. Tests hold every dialect to it, both ways.
"""
_USAGE: Final = """\
### Usage

1,000 tokens of input, of which 300 came from a cache and 20 were written to one, and 500 of output, of which 70 were
thoughts:
"""
_ERRORS: Final = """\
### Errors

An error before the answer is the body of an HTTP error; one in the midst of it, the end of the stream in place of the
dialect's own. Both keep the message; a provider's own error object is kept where it is of the same dialect.
"""
_WORDS: Final = """\
### Why an answer ended

The reason as the client's dialect says it, and, in brackets, what that is read as where it is not the same.
"""

_COUNTED: Final = Usage(1000, 500, 300, 20, 70)
_FAILURES: Final = (
    ("bad request", 400, Failed("invalid_request", "No such tool.", upstream_status=400)),
    ("rate limit", 429, Failed("rate_limit_exceeded", "Slow down.", retryable=True, upstream_status=429)),
    ("overloaded", 503, Failed("overloaded", "Too busy.", retryable=True, upstream_status=503)),
    ("cut short", 502, Failed("truncated", "The end is missing.", retryable=True)),
)


def prompts() -> dict[str, Prompts]:
    """The dialects that requests are read in, or written."""
    found: dict[str, Prompts] = {}
    for name in dialects.names():
        try:
            found[name] = dialects.prompts(name)
        except ModuleNotFoundError as error:
            if not str(error.name).endswith(".prompt"):
                raise
    return found


def page() -> str:
    """The whole page."""
    return "\n".join([_OPENING, *_requests(prompts()), *_answers([dialects.get(name) for name in TARGETS])])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _requests(spoken: dict[str, Prompts]) -> Iterator[str]:
    written = {name: each for name, each in spoken.items() if each.write is not None}
    yield _REQUESTS
    fates = [[feature, *(each.table.get(feature, CARRIED).fate for each in written.values())] for feature in FEATURES]
    yield _table(["what is asked", *(f"`{name}`" for name in written)], fates)
    for name, each in written.items():
        yield f"### Into `{name}`\n"
        said = [(feature, each.table[feature]) for feature in FEATURES if feature in each.table]
        yield _table(["what is asked", "", "why, or how"], ([feature, *verdict] for feature, verdict in said))
    yield "### Harmless members\n"
    harmless = ([f"`{name}`", ", ".join(f"`{it}`" for it in sorted(each.harmless))] for name, each in spoken.items())
    yield _table(["dialect of the request", "left out with a note (`*.name`: at any depth)"], harmless)


def _answers(spoken: list[Dialect]) -> Iterator[str]:
    head = [f"`{dialect.name}`" for dialect in spoken]
    yield _ANSWERS
    yield _table(["", *head], ([each, *(it.loses.get(each, "told") for it in spoken)] for each in get_args(Aspect)))
    yield _WORDS
    yield _table(["", *head], ([each, *(_reason(it, each) for it in spoken)] for each in get_args(FinishReason)))
    yield _USAGE
    yield _table(["dialect", "as it is told"], ([f"`{it.name}`", f"`{_usage(it)}`"] for it in spoken))
    yield _ERRORS
    for dialect in spoken:
        yield f"`{dialect.name}`:\n"
        rows = ([name, f"`{_text(dialect.error_body(failure, status))}`", f"`{_failing(dialect, failure)}`"]
                for name, status, failure in _FAILURES)  # fmt: skip
        yield _table(["failure", "before the answer", "in the midst of it"], rows)


def _reason(dialect: Dialect, reason: FinishReason) -> str:
    """The dialect's word for it, found by telling and reading an answer that ends so."""
    if reason in ("error", "cancelled"):
        return "an error"
    calls: list[Delta] = [ToolCallStarted("c", "f", 0, 1), ToolCallDelta("{}", 0, 1), ToolCallEnded(0, 1)]
    said: list[Delta] = [Started(), TextDelta("A."), *(calls if reason == "tool_use" else []), Finished(reason)]
    choice = fold(decode(dialect, [encode(dialect, said)])).choice()
    word = f"`{choice.native_reason or choice.reason}`"
    return word if choice.reason == reason else f"{word} ({choice.reason})"


def _usage(dialect: Dialect) -> str:
    """The object that holds the counts: the one that the dialect's own reader found, or what is called usage."""
    said: list[Delta] = [Started(), TextDelta("A."), _COUNTED, Finished("stop")]
    end = fold(decode(dialect, [encode(dialect, said)]))
    found = None if end.usage is None else end.usage.raw
    if found is None:
        encoder = dialect.encoder(STREAM, CREATED, MODEL)
        frames = [frame for delta in said for frame in encoder.feed(delta)] + encoder.close(terminal_of(fold(said)))
        values = [msgspec.json.decode(frame.data) for frame in frames if frame.data.startswith("{")]
        found = next((inner["usage"] for value in values for inner in _objects(value) if inner.get("usage")), None)
    return msgspec.json.encode(found).decode()


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """*value*, and the objects in its members, at any depth."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _objects(inner)


def _failing(dialect: Dialect, failure: Failed) -> str:
    """The frame with the error that ends a stream."""
    said: list[Any] = [Started(), TextDelta("A."), failure]
    encoder = dialect.encoder(STREAM, CREATED, MODEL)
    for delta in said:
        encoder.feed(delta)
    frames = encoder.close(terminal_of(fold(said)))
    return next((frame.data for frame in frames if failure.message in frame.data), "")


def _text(body: bytes) -> str:
    return body.decode().strip()
