"""What can be asked of Gemini, and how its requests are read and written."""

from __future__ import annotations

from typing import Final

from tokenwire.dialects.gemini.prompt_read import read
from tokenwire.dialects.gemini.prompt_write import write
from tokenwire.dialects.prompt.fit import Prompts, Table, changed, dropped, refused

__all__ = ["PROMPTS", "TABLE"]

TABLE: Final[Table] = {
    "late system": changed("is said with the instructions at the beginning"),
    "turn name": dropped("turns have no names there"),
    "image file id": refused("only the vendor that keeps the file can read it"),
    "image detail": dropped("pictures have no detail of their own there"),
    "file id": refused("only the vendor that keeps the file can read it"),
    "result media": changed("is put beside the result"),
    "refusal": changed("is told as text"),
    "foreign thought": dropped("a thought is of use only to the vendor whose model thought it"),
    "foreign part": refused("no other vendor knows it"),
    "strict tools": dropped("arguments are not held to the schema there"),
    "one tool at a time": dropped("the number of calls cannot be bounded there"),
    "effort": changed("becomes a thinkingLevel, or a thinkingBudget for models before Gemini 3"),
    "no thinking": changed("becomes the least thinking that the model knows"),
    "user": dropped("requests do not name their user there"),
    "metadata": dropped("requests have no metadata there"),
    "service tier": dropped("the tiers of two vendors are not the same"),
}

#: Members that do not touch what is answered: settings of filters that only Gemini has, of how things are delivered.
_HARMLESS: Final = frozenset({
    "safetySettings", "store", "generationConfig.mediaResolution", "generationConfig.audioTimestamp",
    "generationConfig.enableEnhancedCivicAnswers", "tools.functionDeclarations.response",
    "tools.functionDeclarations.responseJsonSchema", "tools.functionDeclarations.behavior",
    "toolConfig.functionCallingConfig.streamFunctionCallArguments",
})  # fmt: skip

PROMPTS: Final = Prompts(read=read, write=write, table=TABLE, harmless=_HARMLESS)
