"""Chat requests in the common vocabulary: what of a prompt the dialect can say, and both directions (prompt_read,
prompt_write)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.openai_chat.prompt_read import read
from tokenwire.dialects.openai_chat.prompt_write import AUDIO, LONGEST_USER, TIERS, VENDORS, write
from tokenwire.dialects.prompt.fit import Feature, Prompts, Verdict, changed, dropped, refused
from tokenwire.dialects.prompt.vocabulary import Call, Media, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.prompt.fit import Limit
    from tokenwire.dialects.prompt.vocabulary import Part, Prompt

__all__ = ["PROMPTS"]

TABLE: Final[dict[Feature, Verdict]] = {
    "image file id": refused("it takes pictures as data or by address"),
    "file url": refused("it takes files as data or by id"),
    "file id": Verdict("carried", "from OpenAI's dialects; others' ids are refused"),
    "audio data": Verdict("carried", "wav and mp3; other formats are refused"),
    "audio url": refused("it takes sound as data"),
    "video data": refused("it has no films"),
    "video url": refused("it has no films"),
    "assistant media": refused("the assistant's turns are text there"),
    "call signature": Verdict("carried", "Gemini's, as Google's compatible server has it; others' are left out"),
    "failed result": changed("it has no mark for that, so its text begins with 'Error: '"),
    "result media": changed("results are text there, so it stands in a turn of the user's behind them"),
    "own thought": Verdict("carried", "as reasoning_details"),
    "foreign thought": dropped("only whoever thought it can use it"),
    "foreign part": refused("only the dialect that it came in knows it"),
    "top_k": refused("it has no such parameter"),
    "thinking budget": changed(
        "it becomes the nearest reasoning_effort (up to 1,024 tokens minimal, up to 4,096 low, up to 16,384 medium, "
        "above high), unless there is one beside it; where the model decides, nothing is said"
    ),
    "no thinking": Verdict("carried", "as the reasoning_effort none"),
    "show thinking": dropped("whether thoughts are told is up to the server"),
    "user": Verdict("carried", "if longer than 64 characters, as its SHA-256 in hexadecimal, which is noted"),
    "metadata": dropped("it is kept with stored answers only"),
    "service tier": Verdict("carried", "if it is one of OpenAI's, else left out with a note"),
    "max_tokens": Verdict(
        "carried", "as max_completion_tokens to OpenAI's own models, by their names, else max_tokens"
    ),
    "json schema": Verdict("carried", "named 'answer' if it has no name"),
}

#: What does not touch the answer: caches, what is kept of it, what is sent back with an earlier answer.
HARMLESS: Final = frozenset({
    "store", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "prediction", "*.cache_control",
    "*.prompt_cache_breakpoint", "*.annotations", "*.index",
    "*.parsed", "*.parsed_arguments",  # what the SDK's helper adds to a message that is sent back
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


def _of_part(part: Part) -> Iterator[Limit]:
    if isinstance(part, Call) and part.signature is not None and part.dialect != "gemini":
        yield part.where, dropped("only the signatures of Gemini's calls have a place there")
    if not isinstance(part, Media):
        return
    if part.kind == "audio" and part.data is not None and part.mime not in AUDIO:
        yield part.where, refused(f"it takes wav and mp3, not {part.mime or 'sound of an unknown type'}")
    if part.kind == "file" and part.file_id is not None and part.vendor not in VENDORS:
        yield part.where, refused("the id of a file is good only where it was uploaded")


PROMPTS: Final = Prompts(read, write, TABLE, HARMLESS, limits)
