"""What the pretended Gemini answers: for each candidate thoughts, then text or calls, and why it ended."""

from __future__ import annotations

import json
import random
import string
from dataclasses import dataclass, field, replace
from typing import Any

from tokenwire.simulator.answer import Ask, Choice, answer, first_characters
from tokenwire.simulator.knobs import Knobs
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.thoughts import thoughts
from tokenwire.simulator.tokens import count, pieces, split_surrogates
from tokenwire.simulator.vendors.gemini.errors import invalid
from tokenwire.simulator.vendors.gemini.prompt import ask_of
from tokenwire.simulator.vendors.gemini.requests import GenerateRequest
from tokenwire.simulator.vendors.gemini.signatures import sign
from tokenwire.simulator.vendors.searching import cited_answer, pages_for, query_for, wants_search

#: What `X-Sim-Answer` may ask for here.
ANSWERS = frozenset({"refusal", "blocked", "malformed-call"})

# Separates ids and signatures in the parts from what is around them.
_TURN = 0x6765_6D69

_ID = string.ascii_lowercase + string.digits
_RATINGS = [
    {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True},
    {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
]
_CONFIDENCE = 0.9


@dataclass(frozen=True)
class Call:
    """A call, which is sent whole."""

    id: str
    name: str
    args: Any
    tokens: int

    def part(self) -> dict[str, Any]:
        return {"functionCall": {"id": self.id, "name": self.name, "args": self.args}}


@dataclass(frozen=True)
class Candidate:
    """One alternative.

    Attributes:
        thoughts: as tokens; ``shown``: whether they are sent, and not only counted.
        signature: of the first call if there is one, else of the text.
        ends: what the event that closes it says beside the finish reason.
        content: whether that event has any content, be it empty.
    """

    thoughts: list[str] = field(default_factory=list)
    shown: bool = False
    text: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    signature: str | None = None
    finish: str = "STOP"
    ends: dict[str, Any] = field(default_factory=dict)
    content: bool = True

    @property
    def said(self) -> int:
        """Tokens without the thoughts."""
        return len(self.text) + sum(call.tokens for call in self.calls)

    def limited(self, most: int | None) -> Candidate:
        """As far as *most* tokens reach, thoughts included. A call that would be cut is not made."""
        if most is None or len(self.thoughts) + self.said <= most:
            return self
        thought = self.thoughts[:most]
        text = self.text[: most - len(thought)]
        left = most - len(thought) - len(text)
        calls = []
        for call in self.calls:
            left -= call.tokens
            if left < 0:
                break
            calls.append(call)
        signature = self.signature if calls else None
        return replace(
            self, thoughts=thought, text=text, calls=calls, signature=signature, finish="MAX_TOKENS", ends={}
        )

    def stopped(self, sequences: list[str]) -> Candidate:
        """Up to the first of the stop *sequences* in the text."""
        text = "".join(self.text) if sequences else ""
        ends = [at for each in sequences if each and (at := text.find(each)) >= 0]
        return replace(self, text=first_characters(self.text, min(ends)), ends={}) if ends else self


@dataclass(frozen=True)
class Turn:
    """An answer.

    Attributes:
        blocked: why the prompt was not even answered.
        found: tokens that a search added to the prompt.
    """

    candidates: list[Candidate]
    blocked: str | None = None
    found: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(each.thoughts) + each.said for each in self.candidates)


def turn_for(request: GenerateRequest, model: str, seed: int, knobs: Knobs, *, halved: bool = False) -> Turn:
    """The whole answer, cut where the request says.

    Args:
        halved: characters beyond U+FFFF come in two halves.

    Raises:
        ApiError: 400: a schema that cannot be satisfied.
    """
    if knobs.answer == "blocked":
        return Turn([], "PROHIBITED_CONTENT")
    try:
        ask = ask_of(request, model, seed, knobs.tokens)
        choices = answer(ask)
    except (SchemaError, UnsatisfiableError, RecursionError) as error:
        config = request.generation_config
        formatted = config.response_schema is not None or config.response_json_schema is not None
        where = "generation_config.response_schema" if formatted else "tools.function_declarations.parameters"
        raise invalid(f"* GenerateContentRequest.{where}: {error or 'nested too deeply'}") from None
    rng = random.Random(seed ^ _TURN)
    thought = thoughts(ask.prompt, tools=bool(ask.tools), results=bool(ask.results)) if request.thinks else []
    config = request.generation_config
    shown = config.thinking_config is not None and config.thinking_config.include_thoughts is True
    begun = Candidate(thought, shown, signature=sign("", rng) if thought else None)
    if knobs.answer == "refusal":
        rated = Candidate(thought, shown, pieces("Well, "), finish="SAFETY", content=False)
        return Turn([replace(rated, ends={"safetyRatings": _RATINGS})])
    if knobs.answer == "malformed-call":
        ends = {"finishMessage": "Malformed function call: print(default_api.(simulated))"}
        return Turn([Candidate(thought, shown, finish="MALFORMED_FUNCTION_CALL", ends=ends, content=False)])
    if _searches(request, ask, choices[0]):
        found, turn = _searched(begun, ask)
        return Turn([turn.stopped(config.stop_sequences or []).limited(config.max_output_tokens)], found=found)
    candidates = [_candidate(begun, choice, request, rng).stopped(config.stop_sequences or []) for choice in choices]
    if halved:
        candidates = [replace(each, text=split_surrogates(each.text)) for each in candidates]
    return Turn([each.limited(config.max_output_tokens) for each in candidates])


def _candidate(begun: Candidate, choice: Choice, request: GenerateRequest, rng: random.Random) -> Candidate:
    if not choice.calls:
        return replace(begun, text=_formatted(choice.pieces, request))
    calls = [
        Call("".join(rng.choices(_ID, k=8)), call.name, json.loads("".join(call.pieces)), 1 + len(call.pieces))
        for call in choice.calls
    ]
    return replace(begun, calls=calls, signature=sign(calls[0].name, rng))


def _formatted(said: list[str], request: GenerateRequest) -> list[str]:
    """Structured output as Gemini writes it: indented, or the bare word if one of several is to be chosen."""
    mime_type = request.generation_config.response_mime_type
    if mime_type not in ("application/json", "text/x.enum"):
        return said
    try:
        value = json.loads("".join(said))
    except ValueError:
        return said  # no schema for an enumeration, so there is nothing to choose from
    if mime_type == "text/x.enum" and isinstance(value, str):
        return pieces(value)
    return pieces(json.dumps(value, ensure_ascii=False, indent=2))


def _searches(request: GenerateRequest, ask: Ask, choice: Choice) -> bool:
    """Whether this answer is grounded in a search: the tool is there, words ask for it, and nothing else is due."""
    offered = any(
        tool.google_search is not None or tool.google_search_retrieval is not None for tool in request.tools or ()
    )
    return offered and not choice.calls and not ask.results and ask.schema is None and wants_search(ask.prompt)


def _searched(begun: Candidate, ask: Ask) -> tuple[int, Candidate]:
    """(tokens found, the answer with its sources). Places in a text are counted in bytes of UTF-8."""
    query = query_for(ask.prompt)
    pages = pages_for(ask.prompt, query)
    text, spans = cited_answer(pages)
    supports = [
        {
            "segment": {
                "startIndex": len(text[:start].encode()),
                "endIndex": len(text[:end].encode()),
                "text": text[start:end],
            },
            "groundingChunkIndices": [number],
            "confidenceScores": [_CONFIDENCE],
        }
        for number, (start, end) in enumerate(spans)
    ]
    grounding = {
        "webSearchQueries": [query],
        "searchEntryPoint": {"renderedContent": f'<div class="container">{len(pages)} results (simulated)</div>'},
        "groundingChunks": [{"web": {"uri": page.url, "title": page.title}} for page in pages],
        "groundingSupports": supports,
    }
    found = sum(count(page.cited) for page in pages)
    return found, replace(begun, text=pieces(text), ends={"groundingMetadata": grounding})
