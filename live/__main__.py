"""``python -m live``: ask every configured provider, record, and say what differed from our reference."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from live.cases import CASES, SPEECHES, Speech, choose
from live.compare import FIXTURES, differences
from live.reading import fixture, understand
from live.record import record
from live.redact import Redactor
from live.ways import Way, ways
from tokenwire.engine.clock import LoopClock
from tokenwire.errors import ConfigError, TokenwireError
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.settings import PASSTHROUGH, Settings, UpstreamSettings, from_environment, load
from tokenwire.gateway.upstreams import list_models
from tokenwire.upstream.pool import Pool

if TYPE_CHECKING:
    pass

OUT = Path("recordings")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0: every provider was asked and answered. 1: one could not be asked, or said no. 2: there is none to ask."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(options.config, environ) if options.config else from_environment(environ, None)
        names = _wanted(settings, options.only)
        models = dict(_pair(each) for each in options.model)
    except ConfigError as error:
        print(f"live: {error}", file=sys.stderr)
        return 2
    return 0 if asyncio.run(_all(settings, names, models, options.out, environ)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m live", description=__doc__)
    parser.add_argument("--config", type=Path, help="a tokenwire.toml; without it, keys in the environment")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this provider; may be repeated")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=MODEL", help="which model a provider is asked for"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where recordings go (default: %(default)s)")
    return parser


def _wanted(settings: Settings, only: Sequence[str]) -> list[str]:
    if not settings.upstreams:
        raise ConfigError("no provider is configured: set OPENAI_API_KEY or the like, or give --config")
    for name in only:
        if name not in settings.upstreams:
            raise ConfigError(f"no provider {name!r}; there are {', '.join(settings.upstreams)}", where="--only")
    return list(only) or list(settings.upstreams)


def _pair(text: str) -> tuple[str, str]:
    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise ConfigError(f"{text!r} is not NAME=MODEL", where="--model")
    return name, model


async def _all(
    settings: Settings, names: Sequence[str], models: Mapping[str, str], out: Path, environ: Mapping[str, str]
) -> bool:
    pool = Pool(LoopClock().now_ns)
    directory = Directory(settings, pool)
    try:
        # One after the other: nobody's rate limit is the subject here.
        return all(
            [await _provider(pool, way, models.get(way.upstream.name), out, environ) for way in ways(directory, names)]
        )
    finally:
        pool.close()


async def _provider(pool: Pool, way: Way, model: str | None, out: Path, environ: Mapping[str, str]) -> bool:
    speech, name = SPEECHES.get(way.dialect.name), way.upstream.name
    if speech is None:
        print(f"{way.label}: nothing is known here of asking in {way.dialect.name}; see live/cases.py")
        return False
    try:
        model = model or choose(name, way.upstream.settings.models or await _listed(pool, way))
        if model is None:
            print(f"{way.label}: it lists no models; say --model {name}=MODEL")
            return False
        asked = [await _case(pool, way, speech, case, model, out, environ) for case in CASES]
    except TokenwireError as error:
        print(f"{way.label}: {error}")
        return False
    return all(asked)


async def _listed(pool: Pool, way: Way) -> list[str]:
    try:
        return await list_models(pool, way.upstream)
    except TokenwireError as error:
        print(f"{way.label}: no list of models: {error}")
        return []


async def _case(
    pool: Pool, way: Way, speech: Speech, case: str, model: str, out: Path, environ: Mapping[str, str]
) -> bool:
    settings, name = way.upstream.settings, way.upstream.name
    body = msgspec.json.encode(speech.body(case, model, settings.usage))
    recording = await record(pool, way, model, body, stop_after=CASES[case])
    redactor = Redactor(_secrets(settings, environ))
    folder = name if (FIXTURES / name).is_dir() else speech.folders[0]
    reading = understand(way.dialect, recording.status, redactor.body(recording.body))
    answered = recording.status == 200
    first = "" if recording.first_ms is None else f", first token after {recording.first_ms:.0f} ms"
    print(f"{way.label} {model} {case}: {recording.status}, {reading.generated} events{first}, {recording.how}")
    found = differences(case, recording, reading, speech, folder)
    for each in found or ["as in our reference"]:
        print(f"    {redactor.body(each.encode()).decode()}")
    target = out / way.label
    target.mkdir(parents=True, exist_ok=True)
    file = f"{case}.{'sse' if answered else 'json'}"
    (target / file).write_bytes(redactor.body(recording.body))
    headers = redactor.headers(recording.headers)
    told = fixture(reading, recording, headers, folder=folder, case=case, file=file)
    told["recorded"] |= {"provider": name, "model": model, "request": json.loads(body), "differences": found}
    written = json.dumps(told, ensure_ascii=False, indent=1).encode()
    (target / f"{case}.expected.json").write_bytes(redactor.body(written))
    return answered


def _secrets(settings: UpstreamSettings, environ: Mapping[str, str]) -> list[str]:
    secrets = [value for name, value in environ.items() if name.endswith(("_API_KEY", "_TOKEN", "_SECRET"))]
    secrets += settings.headers.values()
    if settings.api_key is not None and settings.api_key != PASSTHROUGH:
        secrets.append(settings.api_key)
    return secrets


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
