"""For every feature of a request a prompt that uses it, and what of a prompt the feature stands for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tokenwire.dialects.prompt.fit import Feature
from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Foreign,
    Media,
    Output,
    Part,
    Prompt,
    Reasoning,
    Refused,
    Result,
    Said,
    Thought,
    Tool,
    ToolChoice,
    Turn,
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0Y="
WAV = "UklGRiQAAABXQVZFZm10IA=="
SIGNED = "c2lnbmVk"
MP4 = "AAAAGGZ0eXBtcDQyAAAAAA=="
SCHEMA = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip

#: Every part and member of a sample has its own name under this; it is what a note or a refusal must name.
WHERE = "the.field"


def ask(*parts: Part) -> Turn:
    return Turn(role="user", parts=[Said(text="Look."), *parts], where="user")


def tool(name: str = "weather", **more: Any) -> Tool:
    return Tool(name=name, description="Tells it.", parameters=SCHEMA, where="tools", **more)


def called(*results: Said | Media, error: bool = False, **more: Any) -> list[Turn]:
    """A question, a call, what came of it."""
    call = Call(id="call_1", name="weather", arguments='{"city":"Oslo"}', where="call", **more)
    result = Result(call_id="call_1", name="weather", parts=[*results], error=error, where="result")
    return [ask(), Turn(role="assistant", parts=[call]), Turn(role="tool", parts=[result])]


def answered(*parts: Part) -> list[Turn]:
    return [ask(), Turn(role="assistant", parts=[*parts, Said(text="Well.")]), ask()]


def media(kind: Any, **more: Any) -> Prompt:
    return Prompt(turns=[ask(Media(kind=kind, where=WHERE, **more))])


def asked(**members: Any) -> Prompt:
    return Prompt(turns=[ask()], where=dict.fromkeys(("parallel_tools", "top_logprobs", *members), WHERE), **members)


def choose(mode: Any, *names: str, tools: tuple[str, ...] = ("weather", "clock", "news")) -> Prompt:
    choice = ToolChoice(mode=mode, names=list(names), where=WHERE)
    return Prompt(turns=[ask()], tools=[tool(name) for name in tools], tool_choice=choice)


def think(**members: Any) -> Prompt:
    return asked(reasoning=Reasoning(where=WHERE, **members))


def _thought(dialect: str) -> Prompt:
    return Prompt(turns=answered(Thought(text="Hm.", signature=SIGNED, dialect=dialect, where=WHERE)))


def sample(feature: Feature, dialect: str) -> Prompt:
    """A prompt that uses *feature* under the name ``WHERE``, for a request in *dialect*."""
    if feature == "own thought":
        return _thought(dialect)
    if feature in ("image file id", "file id"):
        return media(feature.split()[0], file_id="file-1", vendor=dialect)
    return _SAMPLES[feature]()


_SAMPLES: dict[Feature, Callable[[], Prompt]] = {
    "system": lambda: Prompt(turns=[Turn(role="system", parts=[Said(text="Be kind.")], where=WHERE), ask()]),
    "late system": lambda: Prompt(turns=[ask(), Turn(role="system", parts=[Said(text="Be brief.")], where=WHERE)]),
    "turn name": lambda: Prompt(turns=[Turn(role="user", parts=[Said(text="Hi.")], name="ada", where="the")]),
    "image data": lambda: media("image", data=PNG, mime="image/png"),
    "image url": lambda: media("image", url="https://example.com/a.png"),
    "image detail": lambda: Prompt(
        turns=[ask(Media(kind="image", data=PNG, mime="image/png", detail="low", where=WHERE))]
    ),
    "file data": lambda: media("file", data=PDF, mime="application/pdf", name="a.pdf"),
    "file url": lambda: media("file", url="https://example.com/a.pdf", mime="application/pdf"),
    "audio data": lambda: media("audio", data=WAV, mime="audio/wav"),
    "audio url": lambda: media("audio", url="https://example.com/a.wav", mime="audio/wav"),
    "video data": lambda: media("video", data=MP4, mime="video/mp4"),
    "video url": lambda: media("video", url="https://example.com/a.mp4", mime="video/mp4"),
    "assistant media": lambda: Prompt(turns=answered(Media(kind="image", data=PNG, mime="image/png", where=WHERE))),
    "call": lambda: _renamed(called(Said(text="3 degrees")), 1),
    "call signature": lambda: _renamed(called(Said(text="3 degrees"), signature=SIGNED, dialect="gemini"), 1),
    "result": lambda: _renamed(called(Said(text="3 degrees")), 2),
    "failed result": lambda: _renamed(called(Said(text="no such city"), error=True), 2),
    "result media": lambda: Prompt(
        turns=called(Said(text="a map"), Media(kind="image", data=PNG, mime="image/png", where=WHERE))
    ),
    "refusal": lambda: Prompt(turns=[ask(), Turn(role="assistant", parts=[Refused(text="No.", where=WHERE)]), ask()]),
    "foreign thought": lambda: _thought("another"),
    "foreign part": lambda: Prompt(turns=answered(Foreign(kind="server_tool_use", data={}, where=WHERE))),
    "tools": lambda: Prompt(turns=[ask()], tools=[Tool(name="f", description="d", parameters=SCHEMA, where=WHERE)]),
    "strict tools": lambda: Prompt(turns=[ask()], tools=[Tool(name="f", parameters=SCHEMA, strict=True, where=WHERE)]),
    "tool choice auto": lambda: choose("auto"),
    "tool choice none": lambda: choose("none"),
    "tool choice required": lambda: choose("required"),
    "tool choice named": lambda: choose("required", "clock"),
    "tool choice several": lambda: choose("required", "clock", "weather"),
    "one tool at a time": lambda: Prompt(
        turns=[ask()], tools=[tool()], parallel_tools=False, where={"parallel_tools": WHERE}
    ),
    "json": lambda: asked(output=Output(where=WHERE)),
    "json schema": lambda: asked(output=Output(schema=SCHEMA, where=WHERE)),
    "max_tokens": lambda: asked(max_tokens=77),
    "temperature": lambda: asked(temperature=0.5),
    "top_p": lambda: asked(top_p=0.25),
    "top_k": lambda: asked(top_k=5),
    "seed": lambda: asked(seed=7),
    "frequency_penalty": lambda: asked(frequency_penalty=0.5),
    "presence_penalty": lambda: asked(presence_penalty=0.5),
    "stop": lambda: asked(stop=["END", "STOP"]),
    "several answers": lambda: asked(n=2),
    "logprobs": lambda: asked(logprobs=0),
    "alternatives": lambda: asked(logprobs=3),
    "effort": lambda: think(effort="medium"),
    "thinking budget": lambda: think(budget=2048),
    "no thinking": lambda: think(budget=0),
    "show thinking": lambda: think(show=True),
    "user": lambda: asked(user="ada"),
    "metadata": lambda: asked(metadata={"run": "7"}),
    "service tier": lambda: asked(service_tier="flex"),
}


def _renamed(turns: list[Turn], at: int) -> Prompt:
    """The turns, with ``WHERE`` as the name of the first part of the turn at *at*."""
    turns[at].parts[0].where = WHERE
    return Prompt(turns=turns)


def parts(prompt: Prompt, *kinds: type[Part]) -> list[Any]:
    return [part for turn in prompt.turns for part in turn.parts if isinstance(part, kinds)]


def _media(part: Media) -> tuple[Any, ...]:
    return part.kind, part.data, part.url, part.file_id


def _turns(prompt: Prompt, role: str) -> list[tuple[int, str]]:
    """The turns of that role: where they stand, and their text."""
    return [
        (at, "".join(part.text for part in turn.parts if isinstance(part, Said)))
        for at, turn in enumerate(prompt.turns)
        if turn.role == role
    ]


def _choice(prompt: Prompt) -> Any:
    """The choice of a model that may do as it likes, if none was made."""
    choice = prompt.tool_choice or ToolChoice(mode="auto")
    return choice.mode, sorted(choice.names), sorted(each.name for each in prompt.tools)


def _thinking(prompt: Prompt, *members: str) -> Any:
    return prompt.reasoning and [getattr(prompt.reasoning, member) for member in members]


#: What of a prompt a feature stands for: equal, if it was carried. Others are a member of the same name.
MEANING: dict[str, Callable[[Prompt], Any]] = {
    "system": lambda prompt: _turns(prompt, "system"),
    "turn name": lambda prompt: [turn.name for turn in prompt.turns],
    "image detail": lambda prompt: [part.detail for part in parts(prompt, Media)],
    "assistant media": lambda prompt: [
        _media(part)
        for turn in prompt.turns
        if turn.role == "assistant"
        for part in turn.parts
        if isinstance(part, Media)
    ],
    "call": lambda prompt: [(call.name, json.loads(call.arguments)) for call in parts(prompt, Call)],
    "call signature": lambda prompt: [(call.signature, call.dialect) for call in parts(prompt, Call)],
    "result": lambda prompt: [
        (each.name, [piece.text for piece in each.parts if isinstance(piece, Said)]) for each in parts(prompt, Result)
    ],
    "failed result": lambda prompt: [each.error for each in parts(prompt, Result)],
    "result media": lambda prompt: [
        _media(piece) for each in parts(prompt, Result) for piece in each.parts if isinstance(piece, Media)
    ],
    "refusal": lambda prompt: [part.text for part in parts(prompt, Refused)],
    # Not the signature: there are dialects whose own thoughts have none.
    "thought": lambda prompt: [(part.text, part.dialect) for part in parts(prompt, Thought)],
    "foreign part": lambda prompt: [part.kind for part in parts(prompt, Foreign)],
    "tools": lambda prompt: [(each.name, each.description, each.parameters) for each in prompt.tools],
    "strict tools": lambda prompt: [(each.name, each.strict) for each in prompt.tools],
    "tool choice": _choice,
    "one tool at a time": lambda prompt: prompt.parallel_tools,
    "json": lambda prompt: prompt.output and prompt.output.schema,
    "several answers": lambda prompt: prompt.n,
    "logprobs": lambda prompt: prompt.logprobs,
    "alternatives": lambda prompt: prompt.logprobs,
    "effort": lambda prompt: _thinking(prompt, "effort"),
    "thinking budget": lambda prompt: _thinking(prompt, "budget"),
    "no thinking": lambda prompt: (
        prompt.reasoning is not None and (prompt.reasoning.effort == "none" or prompt.reasoning.budget == 0)
    ),
    "show thinking": lambda prompt: _thinking(prompt, "show"),
    "service tier": lambda prompt: prompt.service_tier,
}


def meaning(prompt: Prompt, feature: Feature) -> Any:
    """What *feature* stands for in *prompt*."""
    for name in (feature, *(part for part in ("tool choice", "thought") if part in feature and feature not in MEANING)):
        if name in MEANING:
            return MEANING[name](prompt)
    if feature == "late system":
        return _turns(prompt, "system")
    if feature == "json schema":
        return MEANING["json"](prompt)
    if feature.split()[0] in ("image", "file", "audio", "video"):
        return [_media(part) for part in parts(prompt, Media)]
    return getattr(prompt, feature)
