"""What is compared: how each relay is started, what it needs, and how it is asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench import toolchain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Dialect = Literal["chat", "messages"]

_HERE = Path(__file__).resolve().parent
_PROVIDERS: Mapping[Dialect, Mapping[str, str]] = {
    # The base URL as the vendor's SDK takes it: OpenAI's ends in the version, Anthropic's does not.
    "chat": {"dialect": "openai.chat", "base": "/v1"},
    "messages": {"dialect": "anthropic", "base": ""},
}
_SCRIPTS = Path(sys.executable).parent  # of the environment that runs us


@dataclass(frozen=True, kw_only=True)
class Relay:
    """One row of a table.

    In ``command``, ``environment`` and ``files``, ``{port}`` stands for the port to listen on, ``{upstream}``
    for the port of the provider, ``{dir}`` for a directory of this run; ``{dialect}`` and ``{base}`` for what
    the provider speaks, and under which path; ``{scheme}``, ``{nginx_tls}`` and ``{tokenwire_tls}`` for how it is
    reached. No command is the direct line.
    """

    name: str
    title: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    """Programs and the Debian packages that have them."""
    models: Mapping[Dialect, str] = field(default_factory=lambda: {"chat": "gpt-4o", "messages": "claude"})
    """The model to ask for in each dialect that it speaks."""
    native: bool = False
    """Whether it has tokenwire's own routes (start and follow)."""
    translates: bool = False
    """Whether it answers clients of one dialect from an upstream of the other."""
    tls: bool = False
    """Whether it can be told to reach its provider by TLS, with ``{scheme}`` and a line of its own."""
    slow: bool = False
    """So far from the others that one round with half the work says enough."""

    def check(self) -> None:
        """Raise MissingProgramError for the first program that is not here."""
        for program, package in self.needs:
            toolchain.find(program, package)
        if self.command and Path(self.command[0]).is_absolute() and not Path(self.command[0]).exists():
            raise toolchain.MissingProgramError(self.command[0], "not installed in this environment")

    def prepare(
        self,
        *,
        port: int,
        upstream: int,
        directory: Path,
        dialect: Dialect = "chat",
        tls: tuple[str, Path] | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        """Write this relay's files into *directory*; return its command and what its environment needs.

        *tls*: the upstream speaks it; under which name, and whose CA it is to trust.
        """
        values = {"port": str(port), "upstream": str(upstream), "dir": str(directory), **_PROVIDERS[dialect]}
        values |= {"scheme": "http", "nginx_tls": "", "tokenwire_tls": ""}
        if tls is not None:
            name, ca = tls
            values["scheme"] = "https"
            values["nginx_tls"] = (
                f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name {name}; "
                "proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
            )
            values["tokenwire_tls"] = f'tls = {{ ca_file = "{ca}", server_name = "{name}" }}'
        for name, text in self.files.items():
            (directory / name).write_text(fill(text, values))
        command = [fill(part, values) for part in self.command]
        return command, {key: fill(value, values) for key, value in self.environment.items()}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace ``{name}`` for the names in *values*, and leave other braces alone (str.format would not)."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _tokenwire(name: str, title: str, *, store: str = "memory://", headers: tuple[str, ...] = ()) -> Relay:
    settings = fill((_HERE / "tokenwire.toml").read_text(), {"store": store})
    return Relay(
        name=name,
        title=title,
        command=(str(_SCRIPTS / "tokenwire"), "serve", "--config", "{dir}/tokenwire.toml"),
        files={"tokenwire.toml": settings},
        headers=headers,
        models={"chat": "lab/gpt-4o", "messages": "lab/claude-sonnet-4-5"},
        native=True,
        translates=True,
        tls=True,
    )


DIRECT = Relay(name="direct", title="direct line")

NGINX = Relay(
    name="nginx",
    title="nginx",
    command=("nginx", "-e", "stderr", "-p", "{dir}", "-c", "{dir}/nginx.conf"),
    files={"nginx.conf": (_HERE / "nginx.conf").read_text()},
    needs=(("nginx", "nginx"),),
    tls=True,
)

#: What ``serve`` does if nobody says otherwise. The others keep streams in memory, as nginx keeps none at all.
SQLITE = _tokenwire("tokenwire-sqlite", "tokenwire, store sqlite", store="sqlite://{dir}/tokenwire.db")

EMBEDDED = Relay(
    name="tokenwire-embedded",
    title="tokenwire in a FastAPI app",
    command=(sys.executable, "-m", "bench.embedded", "{port}", "{dir}/tokenwire.toml"),
    files={"tokenwire.toml": fill((_HERE / "tokenwire.toml").read_text(), {"store": "memory://"})},
    models={"chat": "lab/gpt-4o", "messages": "lab/claude-sonnet-4-5"},
    tls=True,
)

TUTORIAL = Relay(
    name="tutorial",
    title="tutorial relay",
    command=(sys.executable, "-m", "uvicorn", "bench.tutorial_relay:app", "--port", "{port}"),
    environment={"UPSTREAM": "http://127.0.0.1:{upstream}/v1"},
    models={"chat": "gpt-4o"},
    slow=True,
)

KNOWN: Mapping[str, Relay] = {
    relay.name: relay
    for relay in (
        DIRECT,
        NGINX,
        _tokenwire("tokenwire", "tokenwire"),
        _tokenwire("tokenwire-ids", "tokenwire, ids on", headers=("X-Tokenwire-Ids: 1",)),
        SQLITE,
        EMBEDDED,
        TUTORIAL,
    )
}


def other(name: str, command: Sequence[str]) -> Relay:
    """A stranger's relay, from the command line. It is asked for ``lab/gpt-4o``, as many gateways want it."""
    return Relay(name=name, title=name, command=tuple(command), models={"chat": "lab/gpt-4o"})
