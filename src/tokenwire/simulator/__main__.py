"""``python -m tokenwire.simulator [--host H] [--port P] [--tls-cert F --tls-key F] [--with-stdin]``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tokenwire.simulator.about import about
from tokenwire.simulator.server import run
from tokenwire.simulator.tls import HANDSHAKE_FAULTS, server_context


def main(argv: Sequence[str] | None = None) -> None:
    """Parse *argv* (default: the process's own) and serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m tokenwire.simulator",
        description="A server that looks like LLM vendors' APIs on the wire.",
        epilog=about().replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8789, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="serve HTTPS with this certificate chain (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="and this private key (PEM)")
    parser.add_argument("--tls-fault", choices=HANDSHAKE_FAULTS, help="let every handshake fail like that")
    parser.add_argument("--with-stdin", action="store_true", help="also stop when standard input is closed")
    options = parser.parse_args(argv)
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key belong together")
    tls = None
    if options.tls_cert is not None:
        try:
            tls = server_context(options.tls_cert, options.tls_key)
        except OSError as error:
            parser.error(f"cannot use --tls-cert {options.tls_cert} with --tls-key {options.tls_key}: {error}")
    run(options.host, options.port, with_stdin=options.with_stdin, tls=tls, handshake=options.tls_fault)


if __name__ == "__main__":
    main()
