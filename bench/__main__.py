"""``python -m bench``: measure tokenwire beside nginx and the tutorial relay, and print the tables."""

from __future__ import annotations

import argparse
import dataclasses
import resource
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench import (
    cache,
    cancel,
    capacity,
    fanout,
    latejoin,
    library,
    memory,
    partial,
    relays,
    report,
    store,
    store_stall,
    streams,
    translate,
)
from bench.session import Session
from bench.toolchain import MissingProgramError, build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.relays import Dialect, Relay

_USUAL = ("lab", "live", "pacing", "latency")
_TLS = ("tls", "tls-fast")
_EXTRA: dict[str, Callable[[Session], report.Section]] = {
    "cancel": cancel.run,
    "tls-cancel": lambda session: cancel.run(session, tls=True),
    "memory": memory.run,
    "fanout": fanout.run,
    "latejoin": latejoin.run,
    "translate": translate.run,
    "capacity": capacity.run,
    "partial": partial.run,
    "library": library.run,
    "store-stall": store_stall.run,
    "cache": cache.run,
    "store": store.run,
}
_DEFAULT_RELAYS = ("direct", "nginx", "tokenwire", "tokenwire-ids", "tutorial")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, understood."""

    scenarios: tuple[str, ...]
    relays: tuple[Relay, ...]
    rounds: int
    tries: int
    quick: bool
    dialect: Dialect
    json: Path | None


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line. Leaves with status 2 and a sentence where it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, epilog=report.HEADER)
    parser.add_argument(
        "--scenario",
        action="append",
        choices=(*_USUAL, *_TLS, *_EXTRA, "all"),
        help=f"what to measure; may be repeated (usual: {', '.join(_USUAL)})",
    )
    parser.add_argument(
        "--relays",
        default=",".join(_DEFAULT_RELAYS),
        help=f"rows, separated by commas, of: {', '.join(relays.KNOWN)} (usual: %(default)s)",
    )
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another relay: its command, with {port} and {upstream} (and {dir}) to be filled in",
    )
    parser.add_argument("--rounds", type=_positive, help="interleaved rounds (usual: 3; quick: 1)")
    parser.add_argument("--tries", type=_positive, help="cancelled streams of each kind (usual: 500; quick: 100)")
    parser.add_argument(
        "--dialect",
        type=lambda name: "messages" if name == "anthropic" else name,
        choices=("chat", "messages"),
        default="chat",
        help="of requests and streams; messages is Anthropic's, and may be called that",
    )
    parser.add_argument("--quick", action="store_true", help="a hint in a fifth of the time, not a figure to quote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    given = parser.parse_args(arguments)
    rows: list[Relay] = []
    for name in filter(None, given.relays.split(",")):
        if name not in relays.KNOWN:
            parser.error(f"no relay is called {name!r}; known: {', '.join(relays.KNOWN)}")
        rows.append(relays.KNOWN[name])
    for item in given.command:
        name, equals, command = item.partition("=")
        if not (name and equals and command):
            parser.error(f"--command wants NAME=COMMAND, not {item!r}")
        rows.append(relays.other(name, shlex.split(command)))
    wanted = given.scenario or list(_USUAL)
    if "all" in wanted:
        wanted = [*_USUAL, *_TLS, *_EXTRA]
    return Options(
        scenarios=tuple(dict.fromkeys(wanted)),
        relays=tuple(rows),
        rounds=given.rounds or (1 if given.quick else 3),
        tries=given.tries or (100 if given.quick else 500),
        quick=given.quick,
        dialect=given.dialect,
        json=given.json,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def measure(options: Options, console: Console) -> int:
    """Run the scenarios and print each table as soon as it is there. Returns the exit status."""
    try:
        programs = build()
    except MissingProgramError as missing:
        console.print(f"Nothing can be measured: {missing}", style="bold")
        return 1
    session = Session(
        programs=programs,
        relays=list(options.relays),
        rounds=options.rounds,
        tries=options.tries,
        quick=options.quick,
        dialect=options.dialect,
    )
    console.print(report.HEADER, highlight=False)
    console.print(", ".join(f"{k} {v}" for k, v in report.machine().items()), highlight=False)
    console.print()
    if options.quick:
        console.print("--quick: short runs. Take the figures as a hint.\n", style="bold")
    works = streams.works(quick=options.quick)
    sections = []
    for name in options.scenarios:
        session.say(f"{name}:")
        section = streams.run(session, works[name]) if name in works else _EXTRA[name](session)
        sections.append(section)
        report.show(console, section)
    report.show_gaps(console, session.left_out, session.troubles)
    if options.json is not None:
        report.write_json(options.json, sections, session.left_out, session.troubles)
    return 0 if any(section.rows for section in sections) else 1


def main() -> int:
    options = parse(sys.argv[1:])
    # A terminated rig still ends what it started: SystemExit runs the clean-up of every open line.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Every stream is two sockets in a relay; the usual soft limit of 1,024 files would be what is measured.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return measure(options, Console(width=None if sys.stdout.isatty() else 160))


if __name__ == "__main__":
    sys.exit(main())
