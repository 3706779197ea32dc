"""``tokenwire check``: the settings as serve would read them, whether upstreams answer, and what the store keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from tokenwire.cli.kept import Answer, kept_in
from tokenwire.engine.clock import LoopClock
from tokenwire.errors import TokenwireError, UpstreamStatus
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.environment import store_file
from tokenwire.gateway.settings import Settings, from_environment, load
from tokenwire.gateway.upstreams import Upstream, list_models
from tokenwire.upstream.pool import Pool


def run_check(environ: Mapping[str, str], config: Path | None) -> int:
    """Print a table; 0 if every upstream answered and the store can be used, 1 if not, or if *config* has no upstream.

    Raises ``ConfigError`` for settings that cannot work.
    """
    settings = load(config, environ) if config is not None else from_environment(environ, None)
    answers = asyncio.run(_ask(settings))
    table = Table(
        "upstream", "dialect", Column("base_url", overflow="fold"), "answer"
    )  # an address that is cut is none
    for name, upstream in settings.upstreams.items():
        table.add_row(name, ", ".join(upstream.dialects), escape(upstream.base_url), escape(answers[name].said))
    console = Console()
    if settings.upstreams:
        console.print(table)
        for name, answer in answers.items():
            if answer.hint:
                console.print(escape(f"{name}: {answer.hint}"), soft_wrap=True)
    elif config is None:
        console.print("no upstreams: set OPENAI_API_KEY or the like, or write a tokenwire.toml")
    else:
        console.print(
            escape(f"{config} configures no upstream: add an [upstreams.NAME] with its base_url"), soft_wrap=True
        )
    if settings.prices:
        console.print(_prices(settings))
    address = settings.store.url or f"sqlite://{store_file(environ)}"
    console.print(escape(f"listens on {settings.server.host}:{settings.server.port}, store {address}"), soft_wrap=True)
    kept = kept_in(address)
    console.print(escape(kept.said), soft_wrap=True)
    nobody = config is not None and not settings.upstreams
    return 0 if all(answer.ok for answer in [*answers.values(), kept]) and not nobody else 1


def _prices(settings: Settings) -> Table:
    """One's own prices, as they hold: what is not set costs what input does."""
    table = Table("model", "input", "output", "cached input", "cache write", title="USD per million tokens")
    for name, price in settings.prices.items():
        cached, written = (price.input if each is None else each for each in (price.cached_input, price.cache_write))
        table.add_row(escape(name), *(f"{each:g}" for each in (price.input, price.output, cached, written)))
    return table


async def _ask(settings: Settings) -> dict[str, Answer]:
    pool = Pool(LoopClock().now_ns)
    directory = Directory(settings, pool)
    try:
        names = list(directory.upstreams)
        answers = await asyncio.gather(*(_answer(pool, directory.upstreams[name]) for name in names))
        return dict(zip(names, answers, strict=True))
    finally:
        pool.close()


async def _answer(pool: Pool, upstream: Upstream) -> Answer:
    configured = upstream.settings.models
    try:
        models = await list_models(pool, upstream)
    except UpstreamStatus as error:
        if configured is not None and error.status in (404, 405):  # serve does not ask it for a list either
            return Answer(True, f"ok, {len(configured)} models configured")
        said = upstream.first.dialect.describe_error(error.body, error.status or 502).message
        return Answer(False, f"status {error.status}: {said}", _hint(upstream, error.status))
    except TokenwireError as error:
        return Answer(False, str(error))
    return Answer(True, f"ok, {len(models)} models")


def _hint(upstream: Upstream, status: int | None) -> str:
    """What is most likely wrong with an address that has no list of models."""
    several, url = len(upstream.settings.dialects) > 1, upstream.settings.base_url.rstrip("/")
    if status != 404 or not several or url.endswith("/v1"):
        return ""
    return f"the base_url of an upstream of several dialects ends in /v1: {url}/v1"
