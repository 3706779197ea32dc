"""Python functions that a model calls: several at once, one that fails, and one that asks you first.

    python main.py                                                  # simulated, no key is needed
    python main.py openai/gpt-4o-mini "Weather in Oslo and Rome?"

What the model is told of a tool are its name, its docstring and its annotations. A tool that raises is no end: the
model is told, and goes on. Ctrl-C stops the model and the tools.
"""

from __future__ import annotations

import asyncio
import sys

import tokenwire
from tokenwire import CallRequest, TextDelta, ToolCallStarted, ToolResult

MODEL = "sim/gpt-4o"
QUESTIONS = (
    "How is the weather in Oslo, Rome and Atlantis?",
    "Remind Ada of the meeting.",
)
WEATHER = {"Oslo": "4 °C, rain", "Rome": "17 °C, sun"}


async def get_weather(city: str) -> str:
    """The weather in a city, now.

    Args:
        city: Its name, in English.
    """
    await asyncio.sleep(0.5)  # a service that takes its time; three cities take no longer than one
    if city not in WEATHER:
        raise LookupError(f"there is no weather station in {city}")
    return WEATHER[city]


def remind(person: str) -> str:
    """Send somebody a reminder.

    Args:
        person: The name, as in the address book.
    """
    return f"{person} was sent a mail"  # a plain function runs in a thread, and may block


def approve(call: CallRequest) -> bool:
    """Asked before each call runs; here by a person at the console, about one call after the other."""
    if call.name != "remind":
        return True
    return input(f"  ? may {call.name} run with {call.arguments}? [y/N] ").strip().lower() in ("y", "yes")


async def main(model: str, questions: tuple[str, ...]) -> None:
    for question in questions:
        print(f"\n> {question}")
        async with tokenwire.stream(
            model, question, tools=[get_weather, remind], approve=approve, tool_timeout=20
        ) as stream:
            async for update in stream:
                match update:
                    case TextDelta(text=text):
                        print(text, end="", flush=True)
                    case ToolCallStarted(name=name, id=id):
                        print(f"  … {name} ({id})")
                    case ToolResult(name=name, id=id, content=content, error=error):
                        print(f"  {'✗' if error else '✓'} {name} ({id}): {content}")
                    case _:
                        pass
            print(f"\n  {len(stream.answer.turns)} turns, {stream.usage.output if stream.usage else 0} tokens")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else MODEL, tuple(sys.argv[2:]) or QUESTIONS))
