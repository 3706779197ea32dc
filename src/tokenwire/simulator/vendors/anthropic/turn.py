"""What the pretended Claude answers: thinking, then a search, calls, citations or text, whatever was asked for."""

from __future__ import annotations

import json
import random
from typing import Any

from tokenwire.simulator.answer import Ask, Choice, answer
from tokenwire.simulator.knobs import Knobs
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.thoughts import thoughts
from tokenwire.simulator.tokens import pieces
from tokenwire.simulator.vendors.anthropic.blocks import Block, Given, Text, Thinking, ToolUse, Turn, bursts_of
from tokenwire.simulator.vendors.anthropic.errors import invalid
from tokenwire.simulator.vendors.anthropic.ids import new_id
from tokenwire.simulator.vendors.anthropic.prompt import ask_of, tokens_of
from tokenwire.simulator.vendors.anthropic.requests import MessagesRequest
from tokenwire.simulator.vendors.anthropic.search import search, search_tool, searches
from tokenwire.simulator.vendors.anthropic.sources import Citation, citations_of
from tokenwire.simulator.vendors.anthropic.thinking import redact, sign

#: How Anthropic lets people provoke a refusal and redacted thinking; the real words go on after this.
MAGIC_REFUSAL = "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL"
MAGIC_REDACTED = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING"

#: What `X-Sim-Answer` may ask for here.
ANSWERS = frozenset({"refusal", "redacted", "search-error", "pause", "context-window"})

# Separates ids and seals in the blocks from those around them.
_TURN = 0x7475_726E

_REFUSAL = {"type": "refusal", "category": "cyber", "explanation": "Declined by policy (simulated)."}


def turn_for(request: MessagesRequest, seed: int, knobs: Knobs) -> Turn:
    """The whole answer, cut where the request says.

    Raises:
        ApiError: 400: a schema that cannot be satisfied, an answer out of the ordinary that needs what is not there.
    """
    ask = ask_of(request, seed, knobs.tokens)
    if knobs.answer == "refusal" or MAGIC_REFUSAL in ask.prompt:
        return Turn(stop=("refusal", None, _REFUSAL))
    rng = random.Random(seed ^ _TURN)
    thinking: list[Block] = _thinking(request, ask, knobs, rng)
    turn = _answer(request, ask, knobs, rng)
    turn = Turn([*thinking, *turn.blocks], turn.stop, turn.searches, turn.found)
    if knobs.answer == "context-window":
        turn = Turn(turn.blocks, ("model_context_window_exceeded", None, None), turn.searches, turn.found)
    return turn.stopped(request.stop_sequences or ()).limited(request.max_tokens)


def _thinking(request: MessagesRequest, ask: Ask, knobs: Knobs, rng: random.Random) -> list[Block]:
    wanted = request.thinking
    if wanted is None or wanted.type == "disabled":
        return []
    if wanted.type == "adaptive" and request.effort == "low":
        return []  # adaptive: the model decides, and a little effort is none of this
    if wanted.type == "between_tools" and not ask.results:
        return []
    thought = thoughts(ask.prompt, tools=bool(ask.tools), results=bool(ask.results))
    if knobs.answer == "redacted" or MAGIC_REDACTED in ask.prompt:
        return [Given({"type": "redacted_thinking", "data": redact(rng)}, len(thought))]
    shown = wanted.display != "omitted"
    return [Thinking(thought, sign("".join(thought) if shown else "", rng), shown)]


def _answer(request: MessagesRequest, ask: Ask, knobs: Knobs, rng: random.Random) -> Turn:
    tool = search_tool(request)
    forced = knobs.answer in ("search-error", "pause")
    if forced and tool is None:
        raise invalid(f"x-sim-answer: {knobs.answer} needs a web_search tool")
    if tool is not None and (forced or searches(request, tool, ask.prompt)):
        found = search(tool, ask.prompt, rng)
        call_id = new_id("srvtoolu_01", rng)
        results: Any = found.results
        if knobs.answer == "search-error":
            results = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
        result = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": results}
        blocks: list[Block] = [
            Text(pieces("I'll search for that.")),
            ToolUse(call_id, "web_search", bursts_of({"query": found.query}), server=True),
            Given(result),
        ]
        if knobs.answer == "pause":
            return Turn(blocks, ("pause_turn", None, None), 1, tokens_of(result))
        if knobs.answer == "search-error":
            blocks.append(Text(pieces("The search did not work, so I can't say.")))
        else:
            blocks += _cited("The web has this: ", found.citations)
        return Turn(blocks, searches=1, found=tokens_of(result))
    choice = _choice(ask)
    if choice.calls:
        return Turn(_calls(request, ask, choice, rng), ("tool_use", None, None))
    citations = citations_of(request, ask.prompt)
    if citations and ask.schema is None:
        return Turn(_cited("As noted, ", citations))
    return Turn([Text(choice.pieces)] if choice.pieces else [])


def _choice(ask: Ask) -> Choice:
    try:
        return answer(ask)[0]
    except (SchemaError, UnsatisfiableError) as error:
        where = "output_config.format.schema" if ask.schema is not None else "tools: input_schema"
        raise invalid(f"{where}: Invalid schema: {error}") from None


def _calls(request: MessagesRequest, ask: Ask, choice: Choice, rng: random.Random) -> list[Block]:
    eager = {tool.name for tool in request.tools or () if tool.eager_input_streaming}
    # A call that is forced is made without a word.
    blocks: list[Block] = [Text(pieces("I'll check."))] if ask.must == "auto" else []
    for call in choice.calls:
        value = json.loads("".join(call.pieces))
        bursts = bursts_of(value)
        if call.garbled and bursts:
            bursts[-1] = bursts[-1][:-1]
        blocks.append(ToolUse(new_id("toolu_01", rng), call.name, bursts, call.name in eager))
    return blocks


def _cited(opening: str, citations: list[Citation]) -> list[Block]:
    """Sentences that quote their sources: each quotation is a block of its own, with its citation."""
    blocks: list[Block] = [Text(pieces(opening))]
    for number, citation in enumerate(citations):
        if number:
            blocks.append(Text(pieces("; also, ")))
        blocks.append(Text(pieces(citation.said), [citation.location]))
    return [*blocks, Text(pieces("."))]
