"""When two requests have the same answer: what the upstreams would be asked is the same, for the same caller.

The key is over the requests as they go upstream, not as they came. So a question that was asked in another dialect has
the same key if, and only if, its translation is the same request; and nothing that the upstream sees is left out but
what is named here, with its reason. Values are compared as they are written (``1`` is not ``1.0``), text by its
characters, and the order of members counts only where a model is shown it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from tokenwire.dialects.request_body import read_body

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.gateway.vendors import Caller
    from tokenwire.gateway.ways import Way

#: Members of a request to a provider that have no part in its answer, by the provider's dialect.
LEFT_OUT: Final[dict[str, frozenset[str]]] = {
    # ``stream`` and its options: the form of the answer, and whether its usage is told, which the relay asks for anyway
    # (what it could not is in the key beside the body). ``user`` and ``safety_identifier`` say who is to blame for
    # abuse, ``prompt_cache_*`` where the provider keeps its own cache. ``metadata`` is not here: proxies act on it.
    "openai.chat": frozenset({
        "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    }),
    # The answer repeats all of its request's members (``user``, ``metadata`` …): they are part of it.
    "openai.responses": frozenset({"stream", "stream_options"}),
    # Of ``metadata`` only its ``user_id``, in ``_body``: there is no other in Anthropic's API, but proxies have some.
    "anthropic": frozenset({"stream"}),
    "gemini": frozenset(),  # whether it streams stands in the address
    # How long the server keeps the model in its memory.
    "ollama": frozenset({"stream", "keep_alive"}),
    "ollama.generate": frozenset({"stream", "keep_alive"}),
}  # fmt: skip

#: Members, by the provider's dialect, of requests that change something: asked again, they are another question.
STATEFUL: Final[dict[str, tuple[str, ...]]] = {
    "openai.responses": ("conversation", "background"),  # it grows with each request; it is a job to be fetched
    "anthropic": ("container",),  # files that earlier requests have left there
}

#: Members whose objects a model is shown in the order in which they are written: schemas (answers come in that order,
#: too), and the arguments of calls. What is within them is compared as it came.
_ORDERED: Final = frozenset({
    "parameters", "parametersJsonSchema", "input_schema", "inputSchema", "schema", "json_schema", "responseSchema",
    "response_schema", "responseJsonSchema", "format", "arguments", "args", "input", "response", "output",
})  # fmt: skip


def key_of(
    owner: str,
    caller: Caller,
    headers: Sequence[tuple[bytes, bytes]],
    request: GenerateRequest,
    ways: Sequence[Way],
    ignore: Collection[str] = (),
) -> bytes | None:
    """What answers are kept under; None for a request whose answer is not to be kept.

    Args:
        headers: of the request of *owner*, who asks in the dialect of *caller*. Those that go upstream count, a key of
            the caller's own among them.
        ways: every upstream that may answer, in order: another one might answer otherwise.
        ignore: further members of requests to providers that have no part in the answer.
    """
    asked = []
    for way in ways:
        dialect = way.provider.dialect.name
        fields = request.fields if way.body is None else read_body(way.body, ())
        if any(fields.get(name, _NULL) not in (_NULL, _FALSE) for name in STATEFUL.get(dialect, ())):
            return None
        provider, upstream = way.provider, way.target.upstream
        sent = provider.foreign_fields(headers, caller) if way.translated else provider.fields(headers)
        # Whether its usage is told. A stream's is asked for if the upstream bears it, and so does the first one.
        asks = upstream.settings.usage and (way.translated or ways[0].target.upstream.settings.usage)
        tells = asks or not (way.translated or (request.stream and not request.include_usage))
        asked.append([
            upstream.name, upstream.settings.base_url, way.target.model, dialect, tells,
            sorted(field for field in sent if field[0] != "traceparent"), _body(dialect, fields, ignore),
        ])  # fmt: skip
    return hashlib.sha256(msgspec.json.encode([owner, asked])).digest()


_NULL: Final = Raw(b"null")
_FALSE: Final = Raw(b"false")


def _body(dialect: str, fields: dict[str, Raw], ignore: Collection[str]) -> dict[str, Any]:
    """The members that count, in order of their names; null and missing are the same, as the vendors have it."""
    left_out = LEFT_OUT[dialect]
    body: dict[str, Any] = {}
    for name in sorted(fields):
        if name == "model" or name in left_out or name in ignore or fields[name] == _NULL:
            continue
        value = _value(name, fields[name])
        if name == "metadata" and dialect == "anthropic" and isinstance(value, dict):
            value = {key: item for key, item in value.items() if key != "user_id"}
            if not value:
                continue
        body[name] = value
    return body


def _value(name: str, raw: Raw) -> Any:
    """A member in its one form. What msgspec cannot read, but a provider may (half a character), stays as it came."""
    try:
        value = msgspec.json.decode(raw)
        return value if isinstance(value, dict) and name in _ORDERED else _sorted(value)
    except (ValueError, RecursionError):
        return bytes(raw).decode("utf-8", "backslashreplace")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: value[key] if key in _ORDERED else _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
