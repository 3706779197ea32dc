"""What the pretended model answers: reasoning, then a search, calls or text, whatever was asked for."""

from __future__ import annotations

import random
from typing import Any

from tokenwire.simulator.answer import Ask, Choice, answer
from tokenwire.simulator.knobs import Knobs
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.thoughts import thoughts
from tokenwire.simulator.tokens import count, pieces, split_surrogates
from tokenwire.simulator.vendors.openai.chunks import logprobs_of, new_id
from tokenwire.simulator.vendors.openai.errors import invalid
from tokenwire.simulator.vendors.openai_responses.items import Call, Message, OutputItem, Reasoning, Search, Turn
from tokenwire.simulator.vendors.openai_responses.prompt import ask_of
from tokenwire.simulator.vendors.openai_responses.reasoning import seal, summaries
from tokenwire.simulator.vendors.openai_responses.requests import Item, ResponsesRequest
from tokenwire.simulator.vendors.searching import cited_answer, pages_for, query_for, wants_search

#: What `X-Sim-Answer` may ask for here.
ANSWERS = frozenset({"refusal", "blocked"})

# Separates ids and seals in the items from what is around them.
_TURN = 0x7265_7370

_REFUSAL = "I can't assist with that request (simulated)."
# So much is said before the content filter strikes.
_UNFILTERED = 3


def item_id(prefix: str, rng: random.Random) -> str:
    """*prefix* and 50 hexadecimal digits (reference section 14)."""
    return f"{prefix}_{rng.getrandbits(200):050x}"


def turn_for(request: ResponsesRequest, items: list[Item], seed: int, knobs: Knobs, *, halved: bool = False) -> Turn:
    """The whole answer to the conversation *items*, cut where the request says.

    Args:
        halved: characters beyond U+FFFF come in two halves.

    Raises:
        ApiError: 400: an unknown tool, a schema that cannot be satisfied.
    """
    ask = ask_of(request, items, seed, knobs.tokens)
    rng = random.Random(seed ^ _TURN)
    output: list[OutputItem] = []
    if request.reasons:
        thought = summaries(thoughts(ask.prompt, tools=bool(ask.tools), results=bool(ask.results)))
        shown = request.reasoning is not None and request.reasoning.summary is not None
        asked = request.includes("reasoning.encrypted_content")
        sealed = (seal(rng, final=False), seal(rng)) if asked else None
        output.append(Reasoning(item_id("rs", rng), thought, shown, sealed))
    if knobs.answer == "refusal":
        return Turn([*output, Message(item_id("msg", rng), pieces(_REFUSAL), refusal=True)])
    choice = _choice(ask)
    if knobs.answer == "blocked":
        said = choice.pieces[:_UNFILTERED]
        return Turn([*output, Message(item_id("msg", rng), said, status="incomplete")], "content_filter")
    found = 0
    if _searches(request, ask, choice):
        found, searched = _searched(request, ask, rng)
        output += searched
    elif choice.calls:
        output += [Call(item_id("fc", rng), new_id("call_", 24, rng), call.name, call.sent) for call in choice.calls]
    else:
        said = split_surrogates(choice.pieces) if halved else choice.pieces
        logprobs: list[dict[str, Any]] = []
        if request.includes("message.output_text.logprobs"):
            logprobs = logprobs_of(said, request.top_logprobs or 0, rng)
        output.append(Message(item_id("msg", rng), said, logprobs=logprobs))
    return Turn(output, found=found).limited(request.max_output_tokens)


def _choice(ask: Ask) -> Choice:
    try:
        return answer(ask)[0]
    except (SchemaError, UnsatisfiableError) as error:
        calls = ask.schema is None
        param, code = ("tools", "invalid_function_parameters") if calls else ("text.format.schema", None)
        raise invalid(f"Invalid schema in '{param}': {error}", param, code) from None


def _searches(request: ResponsesRequest, ask: Ask, choice: Choice) -> bool:
    """Whether this answer comes from a search: asked for by the choice of tools or by words, and nothing else due."""
    chosen = request.tool_choice
    if _search_tool(request) is None or chosen == "none" or ask.results or ask.schema is not None:
        return False
    if isinstance(chosen, dict) and str(chosen.get("type")).startswith("web_search"):
        return True
    return not choice.calls and (wants_search(ask.prompt) or chosen == "required")


def _search_tool(request: ResponsesRequest) -> Item | None:
    return next((tool for tool in request.tools or () if tool["type"].startswith("web_search")), None)


def _searched(request: ResponsesRequest, ask: Ask, rng: random.Random) -> tuple[int, list[OutputItem]]:
    """(tokens found, the search and the answer that cites it). Places in a text are counted in characters."""
    filters = (_search_tool(request) or {}).get("filters")
    hosts = filters.get("allowed_domains") or () if isinstance(filters, dict) else ()
    query = query_for(ask.prompt)
    pages = pages_for(ask.prompt, query, hosts)
    text, spans = cited_answer(pages)
    annotations = [
        {"type": "url_citation", "start_index": start, "end_index": end, "title": page.title, "url": page.url}
        for page, (start, end) in zip(pages, spans, strict=True)
    ]
    sources = [page.url for page in pages] if request.includes("web_search_call.action.sources") else None
    found = sum(count(page.cited) for page in pages)
    message = Message(item_id("msg", rng), pieces(text), annotations=annotations)
    return found, [Search(item_id("ws", rng), query, sources), message]
