"""``tokenwire check``: the settings as serve would read them, and whether the upstreams answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tokenwire.engine.clock import LoopClock
from tokenwire.errors import TokenwireError, UpstreamStatus
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.settings import Settings, from_environment, load
from tokenwire.gateway.upstreams import Upstream, list_models
from tokenwire.upstream.pool import Pool


def run_check(environ: Mapping[str, str], config: Path | None) -> int:
    """Print a table; 0 if every upstream answered, 1 if not. Raises ``ConfigError`` for settings that cannot work."""
    settings = load(config, environ) if config is not None else from_environment(environ, None)
    answers = asyncio.run(_ask(settings))
    table = Table("upstream", "dialect", "base_url", "answer")
    for name, upstream in settings.upstreams.items():
        table.add_row(name, ", ".join(upstream.dialects), escape(upstream.base_url), escape(answers[name][1]))
    console = Console()
    console.print(
        table if settings.upstreams else "no upstreams: set OPENAI_API_KEY or the like, or write a tokenwire.toml"
    )
    console.print(f"listens on {settings.server.host}:{settings.server.port}, store {settings.store.url}")
    return 0 if all(ok for ok, _ in answers.values()) else 1


async def _ask(settings: Settings) -> dict[str, tuple[bool, str]]:
    pool = Pool(LoopClock().now_ns)
    directory = Directory(settings, pool)
    try:
        names = list(directory.upstreams)
        answers = await asyncio.gather(*(_answer(pool, directory.upstreams[name]) for name in names))
        return dict(zip(names, answers, strict=True))
    finally:
        pool.close()


async def _answer(pool: Pool, upstream: Upstream) -> tuple[bool, str]:
    configured = upstream.settings.models
    try:
        models = await list_models(pool, upstream)
    except UpstreamStatus as error:
        if configured is not None and error.status in (404, 405):  # serve does not ask it for a list either
            return True, f"ok, {len(configured)} models configured"
        said = upstream.first.dialect.describe_error(error.body, error.status or 502).message
        return False, f"status {error.status}: {said}"
    except TokenwireError as error:
        return False, str(error)
    return True, f"ok, {len(models)} models"
