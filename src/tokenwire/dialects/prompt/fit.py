"""What of a request a dialect can say: one table per dialect, which decides and which docs/translation.md is made of.

Nothing is changed in silence: a feature that a request uses is carried, or dropped with a note because an answer
without it is still the answer that was asked for, or else the request is refused, naming the caller's own field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from tokenwire.dialects.prompt.vocabulary import Call, Foreign, Media, Prompt, Refused, Result, Said, Thought
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.errors import RequestRefused

#: Everything of a request that some dialect cannot say, in the order in which the documentation lists it.
Feature: TypeAlias = Literal[
    "system", "late system", "turn name",
    "image data", "image url", "image file id", "image detail",
    "file data", "file url", "file id",
    "audio data", "audio url", "video data", "video url", "assistant media",
    "call", "call signature", "result", "failed result", "result media", "refusal",
    "own thought", "foreign thought", "foreign part",
    "tools", "strict tools", "tool choice auto", "tool choice none", "tool choice required", "tool choice named",
    "tool choice several", "one tool at a time",
    "json", "json schema",
    "max_tokens", "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "stop",
    "several answers", "logprobs", "alternatives",
    "effort", "thinking budget", "no thinking", "show thinking",
    "user", "metadata", "service tier",
]  # fmt: skip

FEATURES: Final[tuple[Feature, ...]] = Feature.__args__  # type: ignore[attr-defined]


class Verdict(NamedTuple):
    """What becomes of a feature. *why*: half a sentence, for the table and for whoever is told; "" where plain."""

    fate: Literal["carried", "changed", "dropped", "refused"]
    why: str = ""


CARRIED: Final = Verdict("carried")


def changed(how: str) -> Verdict:
    """Said in another way, which is noted: ``how`` completes "FIELD …"."""
    return Verdict("changed", how)


def dropped(why: str) -> Verdict:
    """Left out, which is noted: ``why`` completes "FIELD is left out: …"."""
    return Verdict("dropped", why)


def refused(why: str) -> Verdict:
    """400: ``why`` completes "FIELD cannot be asked of …: …"."""
    return Verdict("refused", why)


class Note(NamedTuple):
    """What was not carried as it came, in the caller's words."""

    where: str
    fate: str
    why: str

    def __str__(self) -> str:
        said = "is left out" if self.fate == "dropped" else "is changed"
        return f"{self.where} {said}: {self.why}"


Table: TypeAlias = Mapping[Feature, Verdict]


#: The caller's name of something, and what becomes of it.
Limit: TypeAlias = tuple[str, Verdict]


def no_limits(prompt: Prompt) -> Iterable[Limit]:
    """Of a dialect whose table says everything."""
    return ()


class Written(NamedTuple):
    """A request in the words of its upstream."""

    body: bytes
    notes: list[Note]


class Prompts(NamedTuple):
    """Both directions of one dialect.

    Attributes:
        read: a parsed request of the dialect -> the prompt. Raises ``RequestRefused`` (400), naming the member, for
            what is not as the dialect has it; members it does not know go into ``Prompt.rest``.
        write: prompt, model, stream -> the body of a request of this dialect for a streamed answer (or a whole one).
            Everything in *table* that is not refused is in it, or left out as the table says. None: nobody is asked in
            this dialect (AI SDK, AG-UI).
        table: the verdict for every feature. What is not in it is carried.
        harmless: members in ``rest`` that do not touch the answer: left out with a note. All others are refused.
            ``*.name`` is a member of that name at any depth.
        limits: what *table* cannot say, since it depends on values: those that the dialect has no words for (a
            temperature above 1). Its notes come after those of the table.
    """

    read: Callable[[GenerateRequest], Prompt]
    write: Callable[[Prompt, str, bool], bytes] | None
    table: Table
    harmless: frozenset[str]
    limits: Callable[[Prompt], Iterable[Limit]] = no_limits


def translate(request: GenerateRequest, source: Prompts, target: Prompts, name: str, model: str) -> Written:
    """*request* for *model* of an upstream that speaks the dialect *name*, always as a stream (a whole answer is the
    fold of one).

    Raises:
        RequestRefused: 400, naming the caller's field that the target has no words for.
    """
    prompt = source.read(request)
    notes = check(prompt, target.table, name, target.limits(prompt))
    for member in prompt.rest:
        if source.harmless.isdisjoint((member, "*." + member.rpartition(".")[2])):
            raise unsupported(member, name, "it has no counterpart there")
        notes.append(Note(member, "dropped", f"{name} has no counterpart"))
    assert target.write is not None
    return Written(target.write(prompt, model, True), notes)


def check(prompt: Prompt, table: Table, name: str, limits: Iterable[Limit] = ()) -> list[Note]:
    """What *table*, that of the dialect *name*, says of everything that *prompt* uses, and *limits* of its values.

    Raises:
        RequestRefused: 400, for the first feature that it refuses.
    """
    notes: dict[Note, None] = {}
    found = [(where, table.get(feature, CARRIED)) for feature, where in features(prompt, name)]
    for where, verdict in (*found, *limits):
        if verdict.fate == "refused":
            raise unsupported(where, name, verdict.why)
        if verdict.fate != "carried":
            notes[Note(where, verdict.fate, verdict.why)] = None
    return list(notes)


def unsupported(where: str, name: str, why: str) -> RequestRefused:
    """400: the caller's field *where* cannot be said in the dialect *name*."""
    message = f"{where!r} cannot be asked of this model, whose upstream speaks {name}: {why}"
    return RequestRefused(400, "unsupported_parameter", message, param=where)


def features(prompt: Prompt, name: str) -> Iterator[tuple[Feature, str]]:
    """What *prompt* uses, for the dialect *name*, each with the caller's name of it."""
    yield from _of_turns(prompt, name)
    yield from _of_tools(prompt)
    at = prompt.where.get
    if prompt.output is not None:
        yield ("json" if prompt.output.schema is None else "json schema"), prompt.output.where
    for member in _PLAIN:
        value = getattr(prompt, member)
        if value not in (None, []) and not (value == 0 and member in _NOTHING_AT_0):
            yield member, at(member, member)
    if (prompt.n or 1) > 1:
        yield "several answers", at("n", "n")
    if prompt.logprobs is not None:
        yield "logprobs", at("logprobs", "logprobs")
        if prompt.logprobs:
            yield "alternatives", at("top_logprobs", at("logprobs", "logprobs"))
    thinking = prompt.reasoning
    if thinking is not None:
        if thinking.effort == "none" or thinking.budget == 0:
            yield "no thinking", thinking.where
        elif thinking.budget is not None:
            yield "thinking budget", thinking.where
        elif thinking.effort is not None:
            yield "effort", thinking.where
        if thinking.show:
            yield "show thinking", thinking.where
    if prompt.user is not None:
        yield "user", at("user", "user")
    if prompt.metadata:
        yield "metadata", at("metadata", "metadata")
    if prompt.service_tier is not None:
        yield "service tier", at("service_tier", "service_tier")


_PLAIN: Final[tuple[Feature, ...]] = (
    "max_tokens", "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "stop",
)  # fmt: skip

#: Where 0 is what everyone does who says nothing.
_NOTHING_AT_0: Final = frozenset({"frequency_penalty", "presence_penalty"})


def _of_turns(prompt: Prompt, name: str) -> Iterator[tuple[Feature, str]]:
    begun = False
    for turn in prompt.turns:
        if turn.role == "system":
            yield ("late system" if begun else "system"), turn.where
        else:
            begun = True
        if turn.name is not None:
            yield "turn name", turn.where + ".name"
        for part in turn.parts:
            if isinstance(part, Media):
                yield from _of_media(part, name)
                if turn.role == "assistant":
                    yield "assistant media", part.where
            elif isinstance(part, Call):
                yield "call", part.where
                if part.signature is not None:
                    yield "call signature", part.where
            elif isinstance(part, Result):
                yield "result", part.where
                if part.error:
                    yield "failed result", part.where
                for piece in part.parts:
                    if not isinstance(piece, Said):
                        yield "result media", piece.where
                        yield from _of_media(piece, name)
            elif isinstance(part, Refused):
                yield "refusal", part.where
            elif isinstance(part, Thought):
                ours = part.signature is not None and part.dialect == name
                yield ("own thought" if ours else "foreign thought"), part.where
            elif isinstance(part, Foreign):
                yield "foreign part", part.where


def _of_media(part: Media, name: str) -> Iterator[tuple[Feature, str]]:
    if part.kind == "image":
        if part.file_id is not None:
            yield "image file id", part.where
        else:
            yield ("image data" if part.data is not None else "image url"), part.where
        if part.detail not in (None, "auto"):
            yield "image detail", part.where
    elif part.kind == "file":
        if part.file_id is not None:
            yield "file id", part.where
        else:
            yield ("file data" if part.data is not None else "file url"), part.where
    elif part.kind == "audio":
        yield ("audio data" if part.data is not None else "audio url"), part.where
    else:
        yield ("video data" if part.data is not None else "video url"), part.where


def _of_tools(prompt: Prompt) -> Iterator[tuple[Feature, str]]:
    for tool in prompt.tools:
        yield "tools", tool.where
        if tool.strict:
            yield "strict tools", tool.where
    choice = prompt.tool_choice
    if choice is not None:
        if choice.names:
            forced = len(choice.names) == 1 and choice.mode == "required"
            yield ("tool choice named" if forced else "tool choice several"), choice.where
        elif choice.mode == "auto":
            yield "tool choice auto", choice.where
        elif choice.mode == "none":
            yield "tool choice none", choice.where
        else:
            yield "tool choice required", choice.where
    if prompt.parallel_tools is False:
        yield "one tool at a time", prompt.where.get("parallel_tools", "parallel_tools")
