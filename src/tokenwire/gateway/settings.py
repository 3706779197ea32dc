"""Settings: frozen, small, one struct per subject; unknown keys are refused with the nearest known one.

The environment is read here, in ``environment`` and in ``cli`` only, from a mapping that was passed in. Each default's
reason stands beside it, here or where the struct is defined.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from tokenwire.engine.keeping import Keep
from tokenwire.engine.retention import Retention
from tokenwire.engine.states import Policy
from tokenwire.errors import BadArgument, ConfigError
from tokenwire.gateway.cache_settings import CacheSettings
from tokenwire.gateway.edge_limits import EdgeLimits
from tokenwire.gateway.environment import KEYS, SPOKEN, expand, ollama, with_proxies
from tokenwire.gateway.settings_check import check
from tokenwire.measure.prices import Price
from tokenwire.measure.tokenizers import Tokenizer, tokenizer
from tokenwire.upstream import proxy
from tokenwire.upstream.deadlines import Deadlines
from tokenwire.upstream.origin import Origin, parse_base_url
from tokenwire.upstream.retry import Retry
from tokenwire.upstream.tls import Tls
from tokenwire.wire.frames import MAX_FRAME

_T = TypeVar("_T")


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``default_model`` answers ``/api/chat`` where the request names none: an alias or UPSTREAM/MODEL."""

    host: str = "127.0.0.1"
    port: int = 8787
    default_model: str | None = None


class StoreSettings(Keep, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where streams are kept, and for how long: ``engine.keeping`` has the rest.

    Attributes:
        url: ``sqlite:///PATH`` or ``memory://``. Without it: what ``default_store`` says for ``serve``, else memory.
        hot_bytes: of one log, what stays in memory where a store has the rest.
        rest_seconds: how long a stream that is over stays in memory after its last use, where a store has it.
    """

    url: str | None = None
    hot_bytes: int = 256 * 1024
    rest_seconds: float = 60.0


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes and seconds; INTERFACES section 5.

    Attributes:
        request_body: largest request; 32 MiB is what the vendors accept with images inline.
        upstream_event: largest single event of a provider.
        stream_bytes, total_bytes: what one stream's log, and all of them, may hold.
        ended_seconds: how long an ended stream can be followed where memory is the store; else ``store`` says that.
        idle_seconds: a running stream that brought nothing for so long expires.
        cache_bytes, cache_answer_bytes: what all kept answers, and one of them, may take in memory.
        unread_cost_usd, unread_tokens: what may be generated while nobody reads, where ``finish`` (or a long linger)
            lets it go on; tokens where the price is not known. Hardly an answer costs a dollar (32,000 tokens at 25 USD
            a million are 0.80), and one that runs away is no great loss. ``inf``: no bound.
        heartbeat, linger, reader_timeout, drain, hold: see ``engine.stream.Policy``; ``drain`` is the shutdown's,
            ``hold`` how long a response waits for its first token before its head goes out.
    """

    request_body: int = 32 * 1024 * 1024
    upstream_event: int = MAX_FRAME
    stream_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    streams: int = 20_000
    ended_seconds: float = 600.0
    idle_seconds: float = 3600.0
    cache_bytes: int = 64 * 1024 * 1024
    cache_answer_bytes: int = 4 * 1024 * 1024
    heartbeat: float = 10.0
    linger: float = 15.0
    unread_cost_usd: float = 1.0
    unread_tokens: float = 100_000.0
    reader_timeout: float = 60.0
    drain: float = 30.0
    hold: float = 10.0
    head_bytes: int = 64 * 1024
    head_seconds: float = 20.0
    body_seconds: float = 60.0

    def policy(self, linger: float) -> Policy:
        return Policy(
            linger=linger,
            heartbeat=self.heartbeat,
            reader_timeout=self.reader_timeout,
            max_bytes=self.stream_bytes,
            unread_usd=self.unread_cost_usd,
            unread_tokens=self.unread_tokens,
        )

    def retention(self, store: StoreSettings) -> Retention:
        return Retention(
            max_bytes=self.total_bytes,
            ended_seconds=self.ended_seconds,
            max_streams=self.streams,
            idle_seconds=self.idle_seconds,
            hard_seconds=store.hard_seconds,
            hot_bytes=store.hot_bytes,
            rest_seconds=store.rest_seconds,
        )

    def edge(self) -> EdgeLimits:
        return EdgeLimits(
            head_bytes=self.head_bytes,
            head_seconds=self.head_seconds,
            body_seconds=self.body_seconds,
            stalled_timeout=self.reader_timeout + 15,
        )


class DeadlineSettings(Deadlines, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one upstream: ``upstream.deadlines`` has the defaults and their reasons."""


class DeadlineOverrides(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one model: what is set here is taken instead of its upstream's."""

    connect: float | None = None
    headers: float | None = None
    first_token: float | None = None
    between_tokens: float | None = None
    total: float | None = None

    def over(self, deadlines: Deadlines) -> Deadlines:
        """*deadlines* with what is set here."""
        fields = msgspec.structs.asdict(self)
        return msgspec.structs.replace(
            deadlines, **{name: value for name, value in fields.items() if value is not None}
        )


class RetrySettings(Retry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one upstream: ``upstream.retry`` has the defaults and their reasons."""


#: As an upstream's ``api_key``: the caller's own Authorization is sent on.
PASSTHROUGH = "passthrough"


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider.

    Attributes:
        base_url: as the vendor's SDK takes it. OpenAI's ends in the version (``/v1``), that of Anthropic, Gemini and
            Ollama does not; for these either is understood, so that of an upstream that speaks several ends in ``/v1``.
        dialect: what it speaks; a list if that is several. Its list of models is asked for in the first.
        models: its models, where it has no list of its own (or to restrict it).
        proxy: ``http(s)://[USER:PASSWORD@]HOST:PORT``, or ``none``; without it, the environment's, which ``load`` and
            its like have put here.
        tls: whom to trust, and our certificate, where that is not as usual.
        tokenizer: what counts its models' tokens exactly while they come (``tiktoken:o200k_base``), in a thread.
    """

    base_url: str
    dialect: str | list[str] = "openai.chat"
    api_key: str | None = None
    headers: dict[str, str] = {}
    models: list[str] | None = None
    deadlines: DeadlineSettings = DeadlineSettings()
    retry: RetrySettings = RetrySettings()
    usage: bool = True  # ask for usage in streams; off for servers that refuse stream_options
    proxy: str | None = None
    tls: Tls = Tls()
    tokenizer: str | None = None

    def origin(self) -> tuple[Origin, str]:
        """Where it is and how it is reached, and the path prefix. Raises ``ConfigError``."""
        origin, path = parse_base_url(self.base_url)
        way = None if self.proxy in (None, proxy.NONE) else proxy.parse_proxy(self.proxy or "")
        return origin._replace(tls=None if self.tls == Tls() else self.tls, proxy=way), path

    @property
    def dialects(self) -> tuple[str, ...]:
        """Every dialect that it speaks, the first one first."""
        return (self.dialect,) if isinstance(self.dialect, str) else tuple(self.dialect)


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that callers may use.

    Attributes:
        route: UPSTREAM/MODEL, the first that answers; left out where the name itself is one, and only has settings of
            its own.
        deadlines: taken instead of those of the upstream, whichever answers.
        cache: whether its answers are kept for who asks the same again.
    """

    route: list[str] = []
    deadlines: DeadlineOverrides = DeadlineOverrides()
    cache: CacheSettings = CacheSettings()


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``prices``: one's own, by UPSTREAM/MODEL or MODEL, of which ``*`` and ``?`` may be a part."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    limits: LimitSettings = LimitSettings()
    upstreams: dict[str, UpstreamSettings] = {}
    models: dict[str, ModelSettings] = {}
    prices: dict[str, Price] = {}


#: The simulator's model that answers where nobody chose one.
SIMULATED = "sim/gpt-4o"


#: A settings file, its content, or checked settings.
Config: TypeAlias = Settings | Mapping[str, Any] | Path | str


def settings_of(config: Config, environ: Mapping[str, str]) -> Settings:
    """*config* as settings; ``${NAME}`` in it and a proxy come from *environ*. Raises ``ConfigError``; ``BadArgument``
    for what is nothing of the kind."""
    if isinstance(config, Settings):
        return config
    if isinstance(config, str | Path):
        return load(Path(config), environ)
    if isinstance(config, Mapping):
        return from_mapping(config, environ)
    raise BadArgument("config", f"a path, a mapping or Settings is wanted, not {type(config).__name__}")


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Settings from a TOML file. Raises ``ConfigError`` that names the place and what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}") from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return from_mapping(raw, environ)


def from_mapping(raw: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Settings from parsed TOML; ``${NAME}`` is replaced from *environ*. Raises ``ConfigError`` as ``load`` does."""
    expanded = expand(raw, environ, "")
    _refuse_unknown(expanded, Settings, "")
    for section, kind in (("upstreams", UpstreamSettings), ("models", ModelSettings), ("prices", Price)):
        tables = expanded.get(section)
        for name, table in tables.items() if isinstance(tables, dict) else ():
            _convert(table, kind, f"{section}.{name}")  # one by one: msgspec names no key in its messages
    return with_proxies(check(_convert(expanded, Settings, "")), environ)


def from_environment(environ: Mapping[str, str], simulator: str | None) -> Settings:
    """Settings without a file: the upstreams whose keys are in the environment, and the simulator as ``sim``."""
    upstreams: dict[str, UpstreamSettings] = {}
    server = ServerSettings()
    for key, (name, url_variable, url) in KEYS.items():
        if environ.get(key):
            base_url, dialect = environ.get(url_variable) or url, SPOKEN.get(name, "openai.chat")
            upstreams[name] = UpstreamSettings(base_url=base_url, dialect=dialect, api_key=environ[key])
    if environ.get("OLLAMA_HOST"):
        upstreams["ollama"] = UpstreamSettings(
            base_url=ollama(environ["OLLAMA_HOST"]) + "/v1", dialect=SPOKEN["ollama"]
        )
    if simulator is not None:
        upstreams["sim"] = UpstreamSettings(base_url=simulator, dialect=SPOKEN["sim"], api_key="simulated")
        # Not a provider's: without a word of the owner nothing is spent.
        server = ServerSettings(default_model=SIMULATED)
    return with_proxies(check(Settings(server=server, upstreams=upstreams)), environ)


def tokenizers_of(settings: Settings) -> dict[str, Tokenizer]:
    """By upstream, what counts its models' tokens exactly, where that is set. The settings were checked."""
    named = {name: upstream.tokenizer for name, upstream in settings.upstreams.items()}
    return {name: tokenizer(each) for name, each in named.items() if each is not None}


def _convert(value: Any, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).replace("`", "").partition(" - at $")
        raise ConfigError(message, where=(where + path).lstrip(".") or None) from error


def _refuse_unknown(value: Any, kind: Any, where: str) -> None:
    """Walk *value* beside its struct type; the first unknown key is an error that names its nearest known one."""
    if get_origin(kind) is dict and isinstance(value, dict):
        for key, item in value.items():
            _refuse_unknown(item, get_args(kind)[1], f"{where}.{key}".lstrip("."))
    elif isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, dict):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for key, item in value.items():
            place = f"{where}.{key}".lstrip(".")
            if key not in fields:
                near = difflib.get_close_matches(key, fields, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(fields)}"
                raise ConfigError(f"unknown key; {hint}", where=place)
            _refuse_unknown(item, fields[key], place)
