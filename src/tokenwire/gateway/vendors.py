"""The dialects that answers are asked for in: their routes here, and how their providers want to be asked.

One frozen record each. Everything that a route does besides is ``generate``, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from tokenwire import dialects
from tokenwire.dialects.anthropic import request as anthropic_request
from tokenwire.dialects.gemini import request as gemini_request
from tokenwire.dialects.ollama import request as ollama_request
from tokenwire.dialects.ollama_generate import request as ollama_generate_request
from tokenwire.dialects.openai_chat import request as openai_chat_request
from tokenwire.dialects.openai_responses import request as openai_responses_request
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.gateway import listing, variants

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect


class Rewrite(Protocol):
    """The body for an upstream; *include_usage*: the stream shall tell its usage, whether or not the caller asked."""

    def __call__(self, request: GenerateRequest, *, model: str, include_usage: bool) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A dialect that callers may ask in.

    Attributes:
        dialect: its name.
        credentials: fields with which a caller may bring a key of his own (``api_key = "passthrough"``).
        parse: a caller's body -> the request. Raises ``RequestRefused`` (400).
        answers: the request -> the dialect of its answer; *own*: it is the upstream's, too.
    """

    dialect: str
    credentials: tuple[bytes, ...] = (b"authorization",)
    parse: Callable[[bytes], GenerateRequest]
    answers: Callable[[GenerateRequest, bool], Dialect]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor(Caller):
    """One that providers speak, too.

    Attributes:
        path: of our route; "" where that has the model in it.
        base: the path of a ``base_url``, as the vendor's SDK takes it -> what stands before ``ask`` and ``models``.
        ask: model, streaming -> a provider's route for answers.
        models: its route for the list of its models; listed: what that answers.
        key: the header field that carries an API key.
        required: fields that every request must have, where neither the caller nor the settings have them.
        rewrite: the request, in the upstream's words.
    """

    path: str
    base: Callable[[str], str]
    ask: Callable[[str, bool], str]
    models: str
    listed: listing.Lister = listing.data
    key: Callable[[str], tuple[str, str]]
    required: tuple[tuple[str, str], ...] = ()
    rewrite: Rewrite


def always(name: str) -> Callable[[GenerateRequest, bool], Dialect]:
    """The dialect *name*, whatever was asked."""

    def answers(request: GenerateRequest, own: bool) -> Dialect:
        return dialects.get(name)

    return answers


def _bearer(key: str) -> tuple[str, str]:
    return "authorization", f"Bearer {key}"


def _chat_answer(request: GenerateRequest, own: bool) -> Dialect:
    """The usage chunk is for who asked for it. Where the upstream speaks chat itself, its view hides that chunk."""
    return variants.chat(own or request.include_usage)


OPENAI_CHAT: Final = Vendor(
    dialect="openai.chat",
    path="/v1/chat/completions",
    base=lambda path: path,
    ask=lambda model, streaming: "/chat/completions",
    models="/models",
    key=_bearer,
    parse=openai_chat_request.parse_request,
    rewrite=openai_chat_request.rewrite,
    answers=_chat_answer,
)

ANTHROPIC: Final = Vendor(
    dialect="anthropic",
    path="/v1/messages",
    # Anthropic's SDK takes the address without a version, OpenAI's with it. Either is understood, so that one base_url
    # serves an upstream that speaks both.
    base=lambda path: path.removesuffix("/v1") + "/v1",
    ask=lambda model, streaming: "/messages",
    models="/models?limit=1000",
    key=lambda key: ("x-api-key", key),
    credentials=(b"x-api-key", b"authorization"),
    required=(("anthropic-version", "2023-06-01"),),
    parse=anthropic_request.parse_request,
    rewrite=anthropic_request.rewrite,
    answers=always("anthropic"),
)

OPENAI_RESPONSES: Final = Vendor(
    dialect="openai.responses",
    path="/v1/responses",
    base=lambda path: path,
    ask=lambda model, streaming: "/responses",
    models="/models",
    key=_bearer,
    parse=openai_responses_request.parse_request,
    rewrite=openai_responses_request.rewrite,
    answers=always("openai.responses"),
)

_GEMINI_PATH: Final = "/v1beta/models/"
_GEMINI_VERBS: Final = {"streamGenerateContent": True, "generateContent": False}

GEMINI: Final = Vendor(
    dialect="gemini",
    path="",
    base=lambda path: path.removesuffix("/v1beta").removesuffix("/v1") + "/v1beta",
    ask=lambda model, streaming: (
        f"/models/{quote(model)}:{'streamGenerateContent?alt=sse' if streaming else 'generateContent'}"
    ),
    models="/models?pageSize=1000",
    listed=listing.gemini,
    key=lambda key: ("x-goog-api-key", key),
    credentials=(b"x-goog-api-key", b"authorization"),
    parse=partial(gemini_request.parse_request, model="", stream=True),
    rewrite=gemini_request.rewrite,
    answers=always("gemini"),
)


def _ollama(path: str) -> str:
    """Ollama's own client takes the address of the host, OpenAI's one that ends in ``/v1``."""
    return path.removesuffix("/v1").removesuffix("/api") + "/api"


OLLAMA: Final = Vendor(
    dialect="ollama",
    path="/ollama/api/chat",
    base=_ollama,
    ask=lambda model, streaming: "/chat",
    models="/tags",
    listed=listing.ollama,
    key=_bearer,
    parse=ollama_request.parse_request,
    rewrite=ollama_request.rewrite,
    answers=always("ollama"),
)

OLLAMA_GENERATE: Final = replace(
    OLLAMA,
    dialect="ollama.generate",
    path="/ollama/api/generate",
    ask=lambda model, streaming: "/generate",
    parse=ollama_generate_request.parse_request,
    rewrite=ollama_generate_request.rewrite,
    answers=always("ollama.generate"),
)

#: By the name of the dialect, as settings have it, and by the path of our route.
VENDORS: Final = {vendor.dialect: vendor for vendor in (OPENAI_CHAT, ANTHROPIC, OPENAI_RESPONSES, GEMINI, OLLAMA)}
ROUTES: Final = {vendor.path: vendor for vendor in (*VENDORS.values(), OLLAMA_GENERATE) if vendor.path}
#: What an upstream speaks that speaks the first: these are two routes of one API.
BESIDE: Final = {"ollama": OLLAMA_GENERATE}


def vendor_at(path: str, query: bytes) -> Vendor | None:
    """Whose route for answers that is; None for any other path. Gemini's has the model and the way of answering."""
    vendor = ROUTES.get(path)
    if vendor is not None or not path.startswith(_GEMINI_PATH):
        return vendor
    model, _, verb = path.removeprefix(_GEMINI_PATH).rpartition(":")
    streaming = _GEMINI_VERBS.get(verb)
    if streaming is None or not model:
        return None
    parse = partial(gemini_request.parse_request, model=model, stream=streaming)
    if streaming and b"alt=sse" not in query.split(b"&"):
        return replace(GEMINI, parse=parse, answers=_gemini_array)
    return replace(GEMINI, parse=parse)


def _gemini_array(request: GenerateRequest, own: bool) -> Dialect:
    """Who does not ask for events is answered with one JSON array, piece by piece."""
    from tokenwire.dialects.gemini.dialect import ARRAY

    array: Dialect = ARRAY
    return array
