"""What an embedded relay shares with the gateway: the same tests, in a FastAPI app, under the same servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from tests.embedding.apps import OURS, serving, shared_app
from tests.gateway.test_contract import (  # noqa: F401
    COMMANDS,
    Contract,
    Scenario,
    process,
    test_a_client_that_leaves_a_whole_answer_ends_the_providers_work,
    test_a_client_that_leaves_ends_the_providers_work,
    test_a_head_has_no_body,
    test_a_slow_reader_costs_a_cursor_and_loses_nothing,
    test_a_stop_from_elsewhere_reaches_the_reader,
    test_a_stream_comes_whole_and_verbatim,
    test_a_whole_answer_comes_verbatim,
    test_an_error_before_the_first_token_is_a_status,
    test_an_error_within_the_answer_is_an_event,
    test_every_token_comes_at_once,
    test_one_connection_for_many_requests,
)

from tokenwire.testing.http_client import Client
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.relay import settings_for
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import ScriptedUpstream, Step

#: With a star: below middleware that adds headers and passes every message on by a task of its own.
SERVERS = [OURS, OURS + "*", "h11", "httptools*", *COMMANDS]


async def passed_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


@pytest.fixture(scope="module", params=SERVERS)
def contract(request: pytest.FixtureRequest) -> Iterator[Contract]:
    """As the gateway's."""
    name = request.param

    async def with_clients(scenario: Scenario, port: int, upstream: ScriptedUpstream) -> None:
        clients: list[Client] = []

        async def connect(**options: Any) -> Client:
            clients.append(await Client.connect(port, **options))
            return clients[-1]

        try:
            await scenario(connect, upstream)
        finally:
            for client in clients:
                client.transport.abort()
                await client.gone()

    if name in COMMANDS:

        def outside(scenario: Scenario, *scripts: Sequence[Step]) -> None:
            async def main() -> None:
                async with ScriptedUpstream(*scripts, port=upstream_port) as upstream:
                    await with_clients(scenario, port, upstream)

            run_in("uvloop", main)

        here = Path(__file__).parent
        with (
            refusing_port() as upstream_port,
            refusing_port() as port,
            process(name, port, upstream_port, here, "apps"),
        ):
            yield outside
        return

    def inside(scenario: Scenario, *scripts: Sequence[Step]) -> None:
        async def main() -> None:
            async with ScriptedUpstream(*scripts) as upstream:
                app = shared_app(settings_for(upstream.base_url, linger=1.0))
                if name.endswith("*"):
                    app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
                    app.add_middleware(CORSMiddleware, allow_origins=["*"])
                async with serving(app, http=name.removesuffix("*")) as running:
                    await with_clients(scenario, running.port, upstream)

        run_in("uvloop", main)

    yield inside
