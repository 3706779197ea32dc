"""TLS before the paced upstream: an nginx with a certificate of a CA made for the run."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import processes, toolchain
from bench.loopback import exchange, free_port, wait_for
from bench.relays import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The name in the certificate: nginx finds no addresses in one.
NAME = "provider.test"
_CONF = Path(__file__).resolve().parent / "terminator.conf"
_START_SECONDS = 10.0


@contextmanager
def terminating(
    upstream: int, directory: Path, prepare: Callable[[], None] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process and the port of a TLS server that passes everything on to the port *upstream*.

    *directory* takes its files, ``ca.pem`` among them. *prepare* runs in its process before it starts.
    Raises ``MissingProgramError`` without nginx, ``TimeoutError`` if it does not serve.
    """
    nginx = toolchain.find("nginx", "nginx")
    certify(directory)
    port = free_port()
    conf = directory / "nginx.conf"
    conf.write_text(fill(_CONF.read_text(), {"dir": str(directory), "port": str(port), "upstream": str(upstream)}))
    process = subprocess.Popen(
        [nginx, "-e", "stderr", "-p", str(directory), "-c", str(conf)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=prepare,
    )
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), _START_SECONDS, "no TLS before the upstream")
        if process.poll() is not None:
            raise TimeoutError(f"the TLS before the upstream ended with {process.returncode}")
        yield process, port
    finally:
        processes.end(process)


def certify(directory: Path) -> None:
    """Write ``ca.pem``, and the certificate that it signed with its key, ``server.pem``."""
    import trustme  # a second's work with OpenSSL, for the one scenario that needs it

    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    ca.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))


def _listens(port: int) -> bool:
    try:
        exchange(port, "GET", "/")  # plain text at a TLS port: nginx says 400
    except OSError:
        return False
    return True
