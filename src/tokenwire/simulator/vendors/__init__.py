"""Who the simulator can pretend to be: for each vendor's API a function from a request to its handler."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tokenwire.simulator.vendors.anthropic import errors as anthropic_errors
from tokenwire.simulator.vendors.anthropic.messages import refusal as anthropic_refusal
from tokenwire.simulator.vendors.anthropic.messages import route as anthropic_route
from tokenwire.simulator.vendors.gemini import errors as gemini_errors
from tokenwire.simulator.vendors.gemini.generate import refusal as gemini_refusal
from tokenwire.simulator.vendors.gemini.generate import route as gemini_route
from tokenwire.simulator.vendors.ollama import errors as ollama_errors
from tokenwire.simulator.vendors.ollama.chat import refusal as ollama_refusal
from tokenwire.simulator.vendors.ollama.chat import route as ollama_route
from tokenwire.simulator.vendors.openai import errors as openai_errors
from tokenwire.simulator.vendors.openai.chat import not_found
from tokenwire.simulator.vendors.openai.chat import refusal as openai_refusal
from tokenwire.simulator.vendors.openai.chat import route as openai_chat_route
from tokenwire.simulator.vendors.openai_responses.responses import route as openai_responses_route

if TYPE_CHECKING:
    from tokenwire.simulator.exchange import Context, Reply, Request, Vendor

__all__ = ["VENDORS", "not_found", "refusal"]

#: Asked in this order; the first that knows the route answers. Anthropic comes first: it knows its own by a header.
VENDORS: tuple[Vendor, ...] = (anthropic_route, gemini_route, ollama_route, openai_responses_route, openai_chat_route)


def refusal(request: Request, status: int, problem: str, context: Context) -> Reply:
    """No to what could not be read as a request, in the words of whom it seems to be for."""
    if anthropic_route(request) is not None:
        return anthropic_refusal(request, anthropic_errors.ApiError(status, problem), context)
    if gemini_route(request) is not None:
        return gemini_refusal(request, gemini_errors.ApiError(status, problem))
    if ollama_route(request) is not None:
        return ollama_refusal(request, ollama_errors.ApiError(status, problem))
    return openai_refusal(request, openai_errors.ApiError(status, problem), random.Random(context.seed))
