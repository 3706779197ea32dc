"""A relay before one upstream that speaks another dialect than its callers: what both were told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tokenwire import dialects
from tokenwire.dialects.transcript import Transcript
from tokenwire.gateway.settings import RetrySettings, Settings, UpstreamSettings
from tokenwire.testing.http_bytes import LAST_CHUNK, head
from tokenwire.testing.relay import Relay, chunks, serving
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step
from tokenwire.wire import sse

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ONCE = RetrySettings(attempts=1)


@asynccontextmanager
async def before(
    dialect: str | list[str], *scripts: Sequence[Step], **fields: Any
) -> AsyncIterator[tuple[Relay, ScriptedUpstream]]:
    """A relay before a single upstream ``up`` that speaks *dialect*."""
    async with ScriptedUpstream(*scripts) as upstream:
        up: dict[str, Any] = {"base_url": upstream.base_url, "models": [], "retry": ONCE, "dialect": dialect, **fields}
        async with serving(Settings(upstreams={"up": UpstreamSettings(**up)})) as relay:
            yield relay, upstream


def playing(*sent: bytes, kind: str = "text/event-stream") -> list[Step]:
    """One request, answered with these frames at once."""
    opening = head(200, ("content-type", kind), ("transfer-encoding", "chunked"))
    return [REQUEST, opening + chunks(*sent) + LAST_CHUNK, FLUSHED, CLOSE]


def folded(dialect: str, body: bytes) -> Transcript:
    """What a whole stream in *dialect* says."""
    decoder, fold = dialects.get(dialect).decoder(), Transcript()
    parser = sse.Decoder()
    for event in parser.feed(body) + parser.close(lenient=True):
        for delta in decoder.feed(event):
            fold.apply(delta)
    for delta in decoder.close():
        fold.apply(delta)
    return fold


def asked(upstream: ScriptedUpstream, peer: int = 0) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Path, header fields and body of what the upstream was sent."""
    request = upstream.peers[peer].requests[0]
    return request.target, dict(request.fields), json.loads(request.body)
