"""A request, normalised: plain structs that every dialect's request is read into and written from.

``where`` fields hold the caller's own name of a thing (``messages.2.content.0``, ``generationConfig.topK``): a refusal
or a note names that, and not what it is called here. None everywhere means that the caller did not say.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

#: How much to think, from the vocabularies of the vendors; a dialect that has fewer words takes the nearest.
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Said(Struct, kw_only=True):
    """Text, of whoever has the turn."""

    text: str
    where: str = ""


class Media(Struct, kw_only=True):
    """A picture, sound, film or document: exactly one of ``data``, ``url`` and ``file_id``.

    Attributes:
        kind: what it is; ``file`` for a document.
        mime: its media type, if it was told.
        data: base64, without a prefix.
        file_id: the name under which one vendor (``vendor``, a dialect's name) keeps it.
        detail: how closely to look: ``low``, ``high``, ``auto``.
    """

    kind: Literal["image", "audio", "video", "file"]
    mime: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    vendor: str = ""
    name: str | None = None
    detail: str | None = None
    where: str = ""


class Thought(Struct, kw_only=True):
    """What the assistant thought, given back: only whoever thought it has a use for it.

    Attributes:
        signature: the vendor's proof of it, as ``ReasoningSignature`` has it: without it, no vendor takes it back.
        redacted: the text is not shown; the signature is the thought.
        dialect: whose signature it is; "" where that is not known.
    """

    text: str = ""
    signature: str | None = None
    redacted: bool = False
    dialect: str = ""
    id: str | None = None
    where: str = ""


class Call(Struct, kw_only=True):
    """The assistant called a tool. ``arguments`` is JSON text, of an object. ``signature``, ``dialect``: as in
    ``Thought``, of a vendor that signs its calls (Gemini)."""

    id: str
    name: str
    arguments: str
    signature: str | None = None
    dialect: str = ""
    where: str = ""


class Result(Struct, kw_only=True):
    """What a tool gave back. ``name``: of the tool; the readers fill it in from the call."""

    call_id: str
    name: str = ""
    parts: list[Said | Media] = field(default_factory=list)
    error: bool = False
    where: str = ""


class Refused(Struct, kw_only=True):
    """The assistant declined, in these words."""

    text: str
    where: str = ""


class Foreign(Struct, kw_only=True):
    """A part that only the caller's dialect knows (a server tool's block). ``kind``: its type, for the refusal."""

    kind: str
    data: Any
    where: str = ""


Part: TypeAlias = Said | Media | Thought | Call | Result | Refused | Foreign


class Turn(Struct, kw_only=True):
    """One turn, as the caller had it. Results of tools are in turns of the role ``tool``, and nothing else is."""

    role: Role
    parts: list[Part]
    name: str | None = None
    where: str = ""


class Tool(Struct, kw_only=True):
    """A function that the model may call. ``parameters``: its JSON Schema; None for a function without any."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    where: str = ""


class ToolChoice(Struct, kw_only=True):
    """``required``: some tool, of *names* if there are any. ``auto`` with *names*: none, or one of these."""

    mode: Literal["auto", "none", "required"]
    names: list[str] = field(default_factory=list)
    where: str = ""


class Output(Struct, kw_only=True):
    """The answer shall be JSON: any (``schema`` None), or of this JSON Schema."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    where: str = ""


class Reasoning(Struct, kw_only=True):
    """How much to think: a word, or a number of tokens (0: not at all, -1: as the model likes). ``show``: whether what
    it thinks, or a summary of it, is told."""

    effort: Effort | None = None
    budget: int | None = None
    show: bool | None = None
    where: str = ""


class Prompt(Struct, kw_only=True):
    """One request for an answer.

    Attributes:
        stop: texts at which to stop.
        n: how many answers; logprobs: how many alternatives to each token (0: the chosen ones' own only).
        rest: members that the reader does not know, by the caller's name for them; what becomes of them is for the
            dialect that they came in to say (``Prompts.harmless``).
        where: the caller's names of the members here, by ours (``{"max_tokens": "generationConfig.maxOutputTokens"}``).
    """

    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output: Output | None = None
    reasoning: Reasoning | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: list[str] = field(default_factory=list)
    n: int | None = None
    logprobs: int | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    rest: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
