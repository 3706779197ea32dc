"""``POST /v1/messages/count_tokens``: a question of Anthropic's SDK beside generating, passed on as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire import dialects
from tokenwire.dialects.anthropic.request import parse_count, rewrite
from tokenwire.dialects.deltas import Failed
from tokenwire.errors import RemoteProtocolError, RequestRefused, UpstreamError, UpstreamStatus
from tokenwire.gateway import guard
from tokenwire.gateway.answers import is_object, passed, read_body, send_body, send_refusal, status_of
from tokenwire.gateway.vendors import ANTHROPIC
from tokenwire.upstream.fetch import fetch

if TYPE_CHECKING:
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, Scope, Send

_PATH: Final = "/count_tokens"
PATH: Final = ANTHROPIC.path + _PATH


async def count_tokens(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """One request. Its body is the caller's, but for the model's name; the answer is the provider's."""
    dialect = dialects.get(ANTHROPIC.dialect)
    try:
        guard.admit(scope)
        body = await read_body(scope, receive, gateway.settings.limits.request_body)
        if body is None:
            return
        request = parse_count(body)
        target = gateway.directory.resolve(request.model)
        provider = target.provider(ANTHROPIC)
    except RequestRefused as error:
        await send_refusal(send, error, dialect)
        return
    route = ANTHROPIC.ask(target.model, False) + _PATH
    asked = provider.request(route, rewrite(request, model=target.model), provider.fields(scope["headers"]))
    try:
        answer = await fetch(gateway.pool, asked, timeout=target.upstream.settings.deadlines.headers)
    except UpstreamStatus as error:
        status = error.status if error.status is not None and 400 <= error.status < 600 else 502
        own = error.body if is_object(error.body) else None
        told = own or dialect.error_body(dialect.describe_error(error.body, status), status)
        await send_body(send, status, told, passed(error.headers))
    except (UpstreamError, RemoteProtocolError) as error:
        code = error.code if isinstance(error, UpstreamError) else "bad_answer"
        failed = Failed(code, str(error), retryable=True)
        await send_body(send, status_of(failed), dialect.error_body(failed, status_of(failed)))
    else:
        await send_body(send, 200, answer)
