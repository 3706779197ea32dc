"""What the gateway's tests share: a relay on a real socket, before an upstream that the test scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tokenwire.simulator import Simulator
from tokenwire.simulator import serve as simulate
from tokenwire.testing.relay import Edge, Relay, serving, settings_for
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import ScriptedUpstream, Step


@pytest.fixture
def relayed() -> Callable[..., Any]:
    """``relayed(main, *scripts, **limits)``: ``main(relay, upstream)``; the nth connection upstream plays the nth
    script."""

    def runner(
        main: Callable[[Relay, ScriptedUpstream], Awaitable[Any]],
        *scripts: Sequence[Step],
        edge: Edge = "tokenwire",
        models: list[str] | None = None,
        **limits: Any,
    ) -> Any:
        async def inside() -> Any:
            async with ScriptedUpstream(*scripts) as upstream:
                settings = settings_for(upstream.base_url, models=models, **limits)
                async with serving(settings, edge=edge) as relay:
                    return await main(relay, upstream)

        return run_in("uvloop", inside)

    return runner


@pytest.fixture
def simulated() -> Callable[..., Any]:
    """``simulated(main, **limits)``: ``main(relay, simulator)``."""

    def runner(main: Callable[[Relay, Simulator], Awaitable[Any]], *, edge: Edge = "tokenwire", **limits: Any) -> Any:
        async def inside() -> Any:
            simulator = await simulate()
            try:
                async with serving(settings_for(f"{simulator.url}/v1", **limits), edge=edge) as relay:
                    return await main(relay, simulator)
            finally:
                await simulator.close()

        return run_in("uvloop", inside)

    return runner
