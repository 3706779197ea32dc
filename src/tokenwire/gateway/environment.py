"""What the environment says of settings: keys of vendors, ``${NAME}`` in a file, proxies. Never ``os.environ`` itself:
a mapping that was passed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.errors import ConfigError
from tokenwire.upstream import proxy

if TYPE_CHECKING:
    from tokenwire.gateway.settings import Settings

#: Environment variable -> upstream name and the vendor's own base URL.
KEYS = {
    "OPENAI_API_KEY": ("openai", "OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "ANTHROPIC_API_KEY": ("anthropic", "ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
    "GEMINI_API_KEY": ("gemini", "GEMINI_BASE_URL", "https://generativelanguage.googleapis.com"),
    "GROQ_API_KEY": ("groq", "GROQ_BASE_URL", "https://api.groq.com/openai/v1"),
    "OPENROUTER_API_KEY": ("openrouter", "OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1"),
    "DEEPSEEK_API_KEY": ("deepseek", "DEEPSEEK_BASE_URL", "https://api.deepseek.com/v1"),
    "MISTRAL_API_KEY": ("mistral", "MISTRAL_BASE_URL", "https://api.mistral.ai/v1"),
    "XAI_API_KEY": ("xai", "XAI_BASE_URL", "https://api.x.ai/v1"),
}
#: Upstream name -> what it speaks, where that is not OpenAI chat alone.
SPOKEN: dict[str, str | list[str]] = {
    "openai": ["openai.chat", "openai.responses"],
    "anthropic": "anthropic",
    "gemini": "gemini",
    "ollama": ["openai.chat", "ollama"],
    "sim": ["openai.chat", "anthropic", "openai.responses", "gemini", "ollama"],
}


def ollama(host: str) -> str:
    """OLLAMA_HOST as Ollama's own client reads it: scheme, port and even the host may be missing."""
    scheme, separator, rest = host.strip().rstrip("/").rpartition("://")
    if separator:
        return f"{scheme}://{rest}"
    name, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        name, port = rest, "11434"
    return f"http://{name or '127.0.0.1'}:{port}"


def store_file(environ: Mapping[str, str]) -> Path:
    """Where ``serve`` keeps streams if nobody says otherwise: one file for each user of the machine, or in
    ``TOKENWIRE_HOME``."""
    home = environ.get("TOKENWIRE_HOME")
    if home is None:
        state = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".local" / "state")
        home = str(Path(state) / "tokenwire")
    return Path(home).absolute() / "tokenwire.db"


def default_store(environ: Mapping[str, str]) -> str:
    """The address of ``store_file``. Its directory is made if need be. Raises ``ConfigError`` where it cannot be."""
    path = store_file(environ)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {path.parent} for the streams: {error.strerror}", where="store.url") from error
    return f"sqlite://{path}"


def with_proxies(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Each upstream that has no proxy of its own gets the environment's."""
    upstreams = dict(settings.upstreams)
    for name, upstream in upstreams.items():
        if upstream.proxy is None:
            origin, _ = upstream.origin()
            found = proxy.from_environment(origin.scheme, origin.host, origin.port, environ)
            if found is not None:
                try:
                    proxy.parse_proxy(found.url)
                except ConfigError as error:
                    message = f'{found.variable} in the environment: {error} (or proxy = "none" here)'
                    raise ConfigError(message, where=f"upstreams.{name}.proxy") from error
                upstreams[name] = msgspec.structs.replace(upstream, proxy=found.url)
    return msgspec.structs.replace(settings, upstreams=upstreams)


def expand(value: Any, environ: Mapping[str, str], where: str) -> Any:
    """*value*, parsed TOML at *where*, with ``${NAME}`` replaced. Raises ``ConfigError`` for a name that is missing."""
    if isinstance(value, dict):
        return {key: expand(item, environ, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, environ, where) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise ConfigError(f"the environment has no {name}", where=where)
        return environ[name]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", variable, value)
