"""What the library's tests share: a simulator, and the same questions asked of it directly and through a relay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import pytest

import tokenwire
from tokenwire.simulator import Simulator, serve
from tokenwire.testing.relay import serving, settings_for
from tokenwire.testing.rig import run_in

Way: TypeAlias = Literal["direct", "relay"]
#: ``asked(main, way)``: ``main(ask, simulator, node)``, where *ask* is ``tokenwire.stream`` on that way.
Asked: TypeAlias = Callable[..., Any]
Ask: TypeAlias = Callable[..., "tokenwire.Stream[Any]"]


both_ways = pytest.mark.parametrize("way", ["direct", "relay"])


def paced(tokens: int | None = None, interval_ms: float = 0.0, **more: object) -> dict[str, Any]:
    """Request members for an answer of so many tokens (None: as it happens), so far apart."""
    knobs = {"x-sim-ttft-ms": "0", "x-sim-interval-ms": str(interval_ms)}
    if tokens is not None:
        knobs["x-sim-tokens"] = str(tokens)
    return {"metadata": {**knobs, **{f"x-sim-{name}": str(value) for name, value in more.items()}}}


def settings(simulator: Simulator, **upstream: Any) -> dict[str, Any]:
    """Settings of a node whose only upstream, ``up``, is the simulator."""
    spoken = ["openai.chat", "anthropic"]
    up = {"base_url": f"{simulator.url}/v1", "dialect": spoken, "api_key": "k", "retry": {"attempts": 1}}
    return {"upstreams": {"up": up | upstream}}


@pytest.fixture
def asked() -> Asked:
    def runner(
        main: Callable[[Ask, Simulator, tokenwire.Node], Awaitable[Any]], way: Way = "direct", loop: str = "uvloop"
    ) -> Any:
        async def inside() -> Any:
            simulator = await serve()
            try:
                async with tokenwire.Node(settings(simulator)) as node:
                    if way == "direct":
                        return await main(partial(tokenwire.stream, node=node), simulator, node)
                    async with serving(settings_for(f"{simulator.url}/v1")) as relay:
                        url = f"http://127.0.0.1:{relay.port}"
                        return await main(partial(tokenwire.stream, node=node, relay=url), simulator, node)
            finally:
                await simulator.close()

        return run_in(loop, inside)

    return runner
