"""``python -m tokenwire.simulator [--host H] [--port P] [--with-stdin]``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tokenwire.simulator.server import run


def main(argv: Sequence[str] | None = None) -> None:
    """Parse *argv* (default: the process's own) and serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m tokenwire.simulator", description="A server that looks like an LLM vendor's API on the wire."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8789, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--with-stdin", action="store_true", help="also stop when standard input is closed")
    options = parser.parse_args(argv)
    run(options.host, options.port, with_stdin=options.with_stdin)


if __name__ == "__main__":
    main()
