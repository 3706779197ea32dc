"""The dialects that answers are asked for in: their routes here, and how their providers want to be asked.

One frozen record each. Everything that a route does besides is ``generate``, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tokenwire.dialects.anthropic import request as anthropic_request
from tokenwire.dialects.openai_chat import request as openai_chat_request
from tokenwire.dialects.request_body import GenerateRequest


class Rewrite(Protocol):
    """The body for an upstream; *include_usage*: the stream shall tell its usage, whether or not the caller asked."""

    def __call__(self, request: GenerateRequest, *, model: str, include_usage: bool) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """How one dialect is asked for answers.

    Attributes:
        dialect: its name.
        path: of our route.
        base: the path of a ``base_url``, as the vendor's SDK takes it -> what stands before ``ask`` and ``models``.
        ask, models: a provider's routes for answers and for the list of its models.
        key: the header field that carries an API key.
        credentials: fields with which a caller may bring a key of his own (``api_key = "passthrough"``).
        required: fields that every request must have, where neither the caller nor the settings have them.
        parse: a caller's body -> the request. Raises ``RequestRefused`` (400).
        rewrite: the request, in the upstream's words.
    """

    dialect: str
    path: str
    base: Callable[[str], str]
    ask: str
    models: str
    key: Callable[[str], tuple[str, str]]
    credentials: tuple[bytes, ...]
    required: tuple[tuple[str, str], ...] = ()
    parse: Callable[[bytes], GenerateRequest]
    rewrite: Rewrite


OPENAI_CHAT: Final = Vendor(
    dialect="openai.chat",
    path="/v1/chat/completions",
    base=lambda path: path,
    ask="/chat/completions",
    models="/models",
    key=lambda key: ("authorization", f"Bearer {key}"),
    credentials=(b"authorization",),
    parse=openai_chat_request.parse_request,
    rewrite=openai_chat_request.rewrite,
)

ANTHROPIC: Final = Vendor(
    dialect="anthropic",
    path="/v1/messages",
    # Anthropic's SDK takes the address without a version, OpenAI's with it. Either is understood, so that one base_url
    # serves an upstream that speaks both.
    base=lambda path: path.removesuffix("/v1") + "/v1",
    ask="/messages",
    models="/models?limit=1000",
    key=lambda key: ("x-api-key", key),
    credentials=(b"x-api-key", b"authorization"),
    required=(("anthropic-version", "2023-06-01"),),
    parse=anthropic_request.parse_request,
    rewrite=anthropic_request.rewrite,
)

#: By the name of the dialect, and by the path of our route.
VENDORS: Final = {vendor.dialect: vendor for vendor in (OPENAI_CHAT, ANTHROPIC)}
ROUTES: Final = {vendor.path: vendor for vendor in VENDORS.values()}
