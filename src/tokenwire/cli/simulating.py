"""``tokenwire simulate``."""

from __future__ import annotations

from pathlib import Path

from tokenwire.errors import ConfigError
from tokenwire.simulator import run
from tokenwire.simulator.about import about
from tokenwire.simulator.tls import HANDSHAKE_FAULTS, server_context


def show_faults() -> None:
    """Print what can be asked of the simulator."""
    print(about(), end="")


def run_simulate(host: str, port: int, *, cert: Path | None, key: Path | None, fault: str | None) -> None:
    """Serve until a signal. Raises ``ConfigError`` for an address or a certificate that cannot be used."""
    if fault is not None and fault not in HANDSHAKE_FAULTS:
        raise ConfigError(f"{fault!r} is none of {', '.join(HANDSHAKE_FAULTS)}", where="--tls-fault")
    tls = None
    if cert is not None and key is not None:
        try:
            tls = server_context(cert, key)
        except OSError as error:
            raise ConfigError(f"cannot use {cert} with {key}: {error.strerror or error}", where="--tls-cert") from error
    elif cert is not None or key is not None:
        raise ConfigError("a certificate needs its key, and a key its certificate: give both", where="--tls-cert")
    try:
        run(host, port, tls=tls, handshake=fault)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}", where="--port") from error
