"""Messages requests in the common vocabulary: what of a prompt the dialect can say, and both directions (prompt_read,
prompt_write)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.anthropic.prompt_read import read
from tokenwire.dialects.anthropic.prompt_write import LEAST_BUDGET, LONGEST_USER, PICTURES, document, mime_of, write
from tokenwire.dialects.prompt.fit import Feature, Prompts, Verdict, changed, dropped, refused
from tokenwire.dialects.prompt.vocabulary import Media, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.prompt.fit import Limit
    from tokenwire.dialects.prompt.vocabulary import Part, Prompt

__all__ = ["PROMPTS"]

_FILE_ID: Final = refused("the id of a file is good only where it was uploaded")
_SOUND: Final = refused("it has neither sound nor films")

TABLE: Final[dict[Feature, Verdict]] = {
    "late system": changed("it moves to the system prompt, which stands before all turns"),
    "turn name": dropped("its turns have no names"),
    "image data": Verdict("carried", "jpeg, png, gif and webp; other formats are refused"),
    "image file id": _FILE_ID,
    "image detail": dropped("pictures are always seen closely"),
    "file data": Verdict("carried", "PDF and text; other formats are refused"),
    "file id": _FILE_ID,
    "audio data": _SOUND,
    "audio url": _SOUND,
    "video data": _SOUND,
    "video url": _SOUND,
    "assistant media": refused("the assistant's turns hold no pictures"),
    "call signature": dropped("its calls are not signed"),
    "refusal": changed("it is said as text"),
    "foreign thought": dropped("only whoever thought it can use it"),
    "foreign part": refused("only the dialect that it came in knows it"),
    "tool choice several": changed("the other tools are left out"),
    "json": refused("it has JSON of a schema only"),
    "json schema": Verdict("carried", "without the name and the description of it; it is always strict"),
    "max_tokens": Verdict(
        "carried",
        "it must be said there: without it 4,096, beside a thinking budget that much more than the budget, beside an "
        "effort 32,000",
    ),
    "temperature": Verdict("carried", "up to 1; more is refused"),
    "seed": dropped("its answers cannot be repeated"),
    "frequency_penalty": refused("it has no such parameter"),
    "presence_penalty": refused("it has no such parameter"),
    "several answers": refused("it gives one answer"),
    "logprobs": refused("it does not tell them"),
    "alternatives": refused("it does not tell them"),
    "effort": Verdict("carried", "as output_config.effort with adaptive thinking; minimal becomes low, which is noted"),
    "thinking budget": Verdict("carried", "from 1,024 up; less becomes that, which is noted; -1 is adaptive thinking"),
    "no thinking": Verdict("carried", "as disabled thinking"),
    "show thinking": Verdict("carried", "as summarized; without an effort or a budget, with adaptive thinking"),
    "user": Verdict("carried", "as metadata.user_id; if longer than 256 characters, as its SHA-256, which is noted"),
    "metadata": dropped("only the user's id has a place there"),
    "service tier": dropped("the tiers of each vendor are its own"),
}

#: What does not touch the answer: caches, speed, whom it is counted for, how long ago context was tidied.
HARMLESS: Final = frozenset({
    "*.cache_control", "*.eager_input_streaming", "*.caller", "*.citations", "cache_control", "betas",
    "context_management", "diagnostics", "speed", "user_profile_id",
})  # fmt: skip


def limits(prompt: Prompt) -> Iterator[Limit]:
    """Values that the dialect has no words for."""
    for turn in prompt.turns:
        for part in turn.parts:
            yield from _of_part(part)
            for piece in part.parts if isinstance(part, Result) else ():
                yield from _of_part(piece)
    at = prompt.where.get
    if prompt.temperature is not None and prompt.temperature > 1:
        yield at("temperature", "temperature"), refused("it goes from 0 to 1 there")
    if prompt.user is not None and len(prompt.user) > LONGEST_USER:
        yield at("user", "user"), changed("it is longer than 256 characters and becomes its SHA-256")
    thinking = prompt.reasoning
    if thinking is not None and thinking.effort == "minimal" and thinking.budget is None:
        yield thinking.where, changed("the least effort is low there")
    if thinking is not None and 0 < (thinking.budget or 0) < LEAST_BUDGET:
        yield thinking.where, changed("the least budget is 1,024 there")
    if prompt.output is not None and prompt.output.strict is False:
        yield prompt.output.where, changed("the answer keeps to its schema strictly there")


def _of_part(part: Part) -> Iterator[Limit]:
    if not isinstance(part, Media) or part.data is None:
        return
    mime = mime_of(part)
    if part.kind == "image" and mime not in PICTURES:
        yield part.where, refused(f"it takes jpeg, png, gif and webp, not {mime}")
    if part.kind == "file" and document(part) is None:
        yield part.where, refused(f"it takes PDF and text in UTF-8, not {mime}")


PROMPTS: Final = Prompts(read, write, TABLE, HARMLESS, limits)
