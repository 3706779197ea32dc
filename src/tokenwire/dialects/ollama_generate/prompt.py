"""``/api/generate`` requests in the common vocabulary. They are only read: who is asked is asked to chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.ollama.prompt import HARMLESS, TABLE
from tokenwire.dialects.ollama.prompt_read import pictures, read_common
from tokenwire.dialects.prompt.fit import Prompts
from tokenwire.dialects.prompt.reading import fields_of
from tokenwire.dialects.prompt.vocabulary import Prompt, Said, Turn

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Part
    from tokenwire.dialects.request_body import GenerateRequest

#: Members that only the server's own templates and tokens give a meaning to. Empty they have none.
_RAW: Final = ("raw", "template", "context", "suffix")


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a generate request: the system's turn, if there is one, and the user's.

    Raises:
        RequestRefused: 400, naming the member that is not as the dialect has it.
    """
    fields = fields_of(request.fields)
    prompt = Prompt()
    if system := fields.text("system"):
        prompt.turns.append(Turn(role="system", parts=[Said(text=system, where="system")], where="system"))
    parts: list[Part] = []
    if text := fields.text("prompt"):
        parts.append(Said(text=text, where="prompt"))
    parts += pictures(fields)
    prompt.turns.append(Turn(role="user", parts=parts, where="prompt"))
    prompt.rest = {name: value for name in _RAW if (value := fields.any(name))}
    read_common(fields, prompt)
    return prompt


PROMPTS: Final = Prompts(read, None, TABLE, HARMLESS)
