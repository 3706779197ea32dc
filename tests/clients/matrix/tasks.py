"""What every client is asked, so that the pretended models give one answer, whatever the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Task:
    """One thing to ask.

    Attributes:
        tools: the tool below is offered.
        thinking: the model is asked to think, and to show it.
        schema: the answer shall be JSON of the schema below.
        stream: False asks for the whole answer at once.
    """

    prompt: str
    tools: bool = False
    thinking: bool = False
    schema: bool = False
    stream: bool = True

    @property
    def wire(self) -> dict[str, Any]:
        """For the clients in Node."""
        asked = {name: getattr(self, name) for name in ("prompt", "tools", "thinking", "schema", "stream")}
        return {**asked, "tool": TOOL, "parameters": PARAMETERS, "format": FORMAT}


TOOL: Final = {"name": "get_weather", "description": "Weather in a city"}
#: Every member has one value that fits: the city is the prompt's.
PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
#: The same: a ``query`` is answered with the prompt.
FORMAT: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Trip",
    "description": "A trip",
    "properties": {
        "query": {"type": "string"},
        "place": {
            "type": "object",
            "properties": {"country": {"type": "string", "enum": ["Norway"]}},
            "required": ["country"],
            "additionalProperties": False,
        },
    },
    "required": ["query", "place"],
    "additionalProperties": False,
}

MAX_TOKENS: Final = 8192
TEXT: Final = Task("Tell me of the sea, in Greek: θάλασσα")
WHOLE: Final = Task(TEXT.prompt, stream=False)
TOOLS: Final = Task("What is the weather in Oslo and Kyoto?", tools=True)
THINKING: Final = Task("Think hard about the sea", thinking=True)
STRUCTURED: Final = Task("Three days in Oslo", schema=True)
#: What the tools give back, in the order of the calls.
RESULTS: Final = ("rain all day", "sun until noon")
