"""What all scenarios of one call share: the relays to compare, how thoroughly, and which are left out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bench.rig import Line, RelayFailedError, open_line
from bench.toolchain import MissingProgramError, Programs, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.relays import Dialect, Relay

T = TypeVar("T")


@dataclass
class Session:
    programs: Programs
    relays: list[Relay]
    rounds: int = 3
    tries: int = 500
    quick: bool = False
    dialect: Dialect = "chat"
    left_out: dict[str, str] = field(default_factory=dict)
    """Relay name -> why there is no row of it: it does not start here."""
    troubles: list[str] = field(default_factory=list)
    """What went wrong in one scenario only."""

    def measure(
        self,
        relay: Relay,
        work: Callable[[Line], T],
        *,
        shape: str = "live",
        dialect: Dialect = "chat",
        relay_core: int | None = None,
        tls: bool = False,
    ) -> T | None:
        """Bring *relay* up, let *work* measure it, and end it.

        None if that was not possible, which is said at once and again at the end: one bad relay does not cost
        the figures of the others. A relay that does not start is not tried again.
        """
        if relay.name in self.left_out:
            return None
        self.say(f"  {relay.title} …")
        try:
            relay.check()
            opened = open_line(relay, self.programs, shape=shape, dialect=dialect, relay_core=relay_core, tls=tls)
            with opened as line:
                try:
                    return work(line)
                except (RelayFailedError, TimeoutError) as error:
                    self.troubles.append(f"{relay.title}: {error}")
                    self.say(f"  {self.troubles[-1]}")
        except (MissingProgramError, RelayFailedError) as error:
            self.left_out[relay.name] = str(error)
            self.say(f"  {relay.title} is left out: {error}")
        return None

    def turns(self, relays: list[Relay], *, heavy: bool) -> Iterator[tuple[int, Relay]]:
        """Rounds A B C, A B C, …, so that drift meets all alike. A slow relay has one turn of heavy work."""
        for turn in range(self.rounds):
            for relay in relays:
                if turn == 0 or not (relay.slow and heavy):
                    yield turn, relay

    def has(self, program: str, scenario: str) -> bool:
        """Whether *program* (of the Debian package of that name) is here; if not, it is said what *scenario* lacks."""
        try:
            find(program, program)
        except MissingProgramError as missing:
            self.troubles.append(f"{scenario}: {missing}")
            return False
        return True

    def plain(self) -> list[Relay]:
        """Without variants: ids change neither memory nor cancellation, and followers always have them."""
        return [relay for relay in self.relays if not relay.headers and "chat" in relay.models]

    def say(self, text: str) -> None:
        """Progress, on standard error: standard output has the tables only."""
        print(text, file=sys.stderr, flush=True)
