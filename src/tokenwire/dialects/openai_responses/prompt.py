"""Responses requests in the common vocabulary: what of a prompt the dialect can say, and both directions (prompt_read,
with prompt_items, and prompt_write)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.openai_responses.prompt_read import read
from tokenwire.dialects.openai_responses.prompt_write import (
    AUDIO,
    LONGEST_USER,
    MOST_METADATA,
    TIERS,
    VENDORS,
    kept,
    write,
)
from tokenwire.dialects.prompt.fit import Feature, Prompts, Verdict, changed, dropped, refused
from tokenwire.dialects.prompt.vocabulary import Media, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.prompt.fit import Limit
    from tokenwire.dialects.prompt.vocabulary import Part, Prompt

__all__ = ["PROMPTS"]

_IDS: Final = Verdict("carried", "from OpenAI's dialects; others' ids are refused")

TABLE: Final[dict[Feature, Verdict]] = {
    "turn name": dropped("its messages have no names"),
    "image file id": _IDS,
    "file id": _IDS,
    "audio data": Verdict("carried", "wav and mp3; other formats are refused"),
    "audio url": refused("it takes sound as data"),
    "video data": refused("it has no films"),
    "video url": refused("it has no films"),
    "assistant media": refused("the assistant's turns are text there"),
    "call signature": dropped("its calls are not signed"),
    "failed result": changed("it has no mark for that, so its text begins with 'Error: '"),
    "own thought": Verdict("carried", "as reasoning items"),
    "foreign thought": dropped("only whoever thought it can use it"),
    "foreign part": refused("only the dialect that it came in knows it"),
    "top_k": refused("it has no such parameter"),
    "seed": dropped("its answers cannot be repeated"),
    "frequency_penalty": refused("it has no such parameter"),
    "presence_penalty": refused("it has no such parameter"),
    "stop": refused("it has no such parameter: the answer would go on"),
    "several answers": refused("it gives one answer"),
    "logprobs": Verdict("carried", "as include"),
    "json schema": Verdict("carried", "named 'answer' if it has no name"),
    "thinking budget": changed(
        "it becomes the nearest effort (up to 1,024 tokens minimal, up to 4,096 low, up to 16,384 medium, above high), "
        "unless there is one beside it; where the model decides, nothing is said"
    ),
    "no thinking": Verdict("carried", "as the effort none"),
    "show thinking": Verdict("carried", "as a summary"),
    "user": Verdict("carried", "if longer than 64 characters, as its SHA-256 in hexadecimal, which is noted"),
    "metadata": Verdict("carried", "texts, 16 at most; others are left out with a note"),
    "service tier": Verdict("carried", "if it is one of OpenAI's, else left out with a note"),
}

#: What does not touch the answer: caches, what is kept of it, what more is told about it, what was told about earlier
#: ones; and how wordy it should be, which is a wish.
HARMLESS: Final = frozenset({
    "store", "include", "truncation", "max_tool_calls", "text.verbosity", "reasoning.context", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "*.prompt_cache_breakpoint", "*.annotations", "*.logprobs",
    "*.phase",
})  # fmt: skip


def limits(prompt: Prompt) -> Iterator[Limit]:
    """Values that the dialect has no words for."""
    for turn in prompt.turns:
        for part in turn.parts:
            yield from _of_part(part)
            for piece in part.parts if isinstance(part, Result) else ():
                yield from _of_part(piece)
    at = prompt.where.get
    if prompt.user is not None and len(prompt.user) > LONGEST_USER:
        yield at("user", "user"), changed("it is longer than 64 characters and becomes its SHA-256")
    if prompt.service_tier is not None and prompt.service_tier not in TIERS:
        yield at("service_tier", "service_tier"), dropped(f"its tiers are {', '.join(sorted(TIERS))}")
    if prompt.metadata and len(kept(prompt.metadata)) < len(prompt.metadata):
        yield at("metadata", "metadata"), changed(f"only texts are kept there, and {MOST_METADATA} at most")


def _of_part(part: Part) -> Iterator[Limit]:
    if not isinstance(part, Media):
        return
    if part.kind == "audio" and part.data is not None and part.mime not in AUDIO:
        yield part.where, refused(f"it takes wav and mp3, not {part.mime or 'sound of an unknown type'}")
    if part.file_id is not None and part.vendor not in VENDORS:
        yield part.where, refused("the id of a file is good only where it was uploaded")


PROMPTS: Final = Prompts(read, write, TABLE, HARMLESS, limits)
