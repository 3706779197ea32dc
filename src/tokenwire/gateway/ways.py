"""How an upstream is asked for what a caller wants: in the caller's dialect, or in another one, translated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tokenwire import dialects
from tokenwire.dialects.prompt.fit import Note, translate
from tokenwire.dialects.request_body import read_body, write_body
from tokenwire.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.gateway.directory import Target
    from tokenwire.gateway.upstreams import Provider
    from tokenwire.gateway.vendors import Caller


class Way(NamedTuple):
    """One target, and how it is asked.

    Attributes:
        body: the request in the provider's dialect; None where that is the caller's own, which is passed on as it is.
        notes: what of the request was not carried as it came.
    """

    target: Target
    provider: Provider
    body: bytes | None = None
    notes: Sequence[Note] = ()

    @property
    def translated(self) -> bool:
        return self.body is not None


def ways_to(targets: Sequence[Target], caller: Caller, request: GenerateRequest) -> list[Way]:
    """The targets that can be asked for *request*, in their order.

    Raises:
        RequestRefused: 400, if none can; what the first one cannot be asked is told.
    """
    ways: list[Way] = []
    refusal: RequestRefused | None = None
    for target in targets:
        try:
            ways.append(_way(target, caller, request))
        except RequestRefused as error:
            refusal = refusal or error
    if not ways:
        assert refusal is not None
        raise refusal
    return ways


def _way(target: Target, caller: Caller, request: GenerateRequest) -> Way:
    """In the caller's dialect if the upstream speaks it, else in the first of its own that has words for everything."""
    own = target.upstream.providers.get(caller.dialect)
    if own is not None:
        return Way(target, own)
    source = dialects.prompts(caller.dialect)
    refusal: RequestRefused | None = None
    for name, provider in target.upstream.providers.items():
        words = dialects.prompts(name)
        if words.write is None:
            continue
        try:
            body, notes = translate(request, source, words, name, target.model)
        except RequestRefused as error:
            refusal = refusal or error
        else:
            return Way(target, provider, _asking(body, target), notes)
    assert refusal is not None  # every upstream speaks one dialect at least
    raise refusal


def _asking(body: bytes, target: Target) -> bytes:
    """*body*, without the wish for usage where the upstream's settings say that it bears none."""
    if target.upstream.settings.usage or b'"stream_options"' not in body:
        return body
    fields = read_body(body, ("model",))
    fields.pop("stream_options", None)
    return write_body(fields)


def told(notes: Sequence[Note]) -> str:
    """*notes* as the value of a header field: printable ASCII (a caller's own names may be in it), 2 KiB at most."""
    return re.sub(r"[^\x20-\x7e]", "?", "; ".join(map(str, notes)))[:2048]
