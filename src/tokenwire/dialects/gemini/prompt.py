"""What can be asked of Gemini, and how its requests are read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.gemini.members import snake
from tokenwire.dialects.gemini.prompt_read import read
from tokenwire.dialects.gemini.prompt_write import write
from tokenwire.dialects.prompt.fit import Feature, Prompts, Verdict, changed, dropped, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.prompt.fit import Limit
    from tokenwire.dialects.prompt.vocabulary import Prompt

__all__ = ["PROMPTS", "TABLE"]

TABLE: Final[dict[Feature, Verdict]] = {
    "late system": changed("it is said with the instructions at the beginning"),
    "turn name": dropped("turns have no names there"),
    "image file id": refused("only the vendor that keeps the file can read it"),
    "image detail": dropped("pictures have no detail of their own there"),
    "file id": refused("only the vendor that keeps the file can read it"),
    "result media": changed("it stands behind the results, in the same turn"),
    "refusal": changed("it is told as text"),
    "foreign thought": dropped("a thought is of use only to the vendor whose model thought it"),
    "foreign part": refused("no other vendor knows it"),
    "strict tools": dropped("arguments are not held to the schema there"),
    "one tool at a time": dropped("the number of calls cannot be bounded there"),
    "effort": Verdict("carried", "as thinkingLevel; to models before Gemini 3, as thinkingBudget"),
    "no thinking": changed("it becomes the least thinking that the model knows"),
    "call signature": Verdict("carried", "Gemini's own; others' are left out"),
    "own thought": Verdict("carried", "with its signature"),
    "user": dropped("requests do not name their user there"),
    "metadata": dropped("requests have no metadata there"),
    "service tier": dropped("its tiers are its own"),
}

#: Members that do not touch what is answered: settings of filters that only Gemini has, of how things are delivered.
_HARMLESS: Final = (
    "safetySettings", "store", "generationConfig.mediaResolution", "generationConfig.audioTimestamp",
    "generationConfig.enableEnhancedCivicAnswers", "tools.functionDeclarations.response",
    "tools.functionDeclarations.responseJsonSchema", "tools.functionDeclarations.behavior",
    "toolConfig.functionCallingConfig.streamFunctionCallArguments",
)  # fmt: skip


def limits(prompt: Prompt) -> Iterator[Limit]:
    """Values that the dialect has no words for."""
    thinking = prompt.reasoning
    if thinking is not None and thinking.budget is None and thinking.effort in ("xhigh", "max"):
        yield thinking.where, changed("its most is HIGH")


def _spelled(name: str) -> tuple[str, str]:
    """Both names that a caller may have for a member: google-genai itself mixes the two."""
    place, dot, member = name.rpartition(".")
    return name, place + dot + snake(member)


HARMLESS: Final = frozenset(each for name in _HARMLESS for each in _spelled(name))

PROMPTS: Final = Prompts(read, write, TABLE, HARMLESS, limits)
