"""What a store keeps, and how much, in a sentence."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import NamedTuple

from tokenwire.engine.stores.address import parse_store_url
from tokenwire.engine.stores.sqlite_look import Look, look
from tokenwire.errors import TokenwireError


class Answer(NamedTuple):
    """What was asked said. *hint*: what most likely mends it."""

    ok: bool
    said: str
    hint: str = ""


def kept_in(url: str) -> Answer:
    """What is in the store of *url*, which a server may have at the moment: it is only read."""
    address = parse_store_url(url)
    if address.scheme == "memory":
        return Answer(True, "streams are kept in the server's memory, as long as it runs")
    try:
        found = look(address.path)
    except TokenwireError as error:
        return Answer(False, str(error))
    if found is not None:
        return Answer(True, _described(found))
    above = Path(address.path).resolve().parent.parent
    if not above.is_dir():  # as the store makes it: the file and its directory, and none above that
        return Answer(False, f"{address.path} cannot be made: there is no directory {above}", f"mkdir -p {above}")
    return Answer(True, "nothing is kept yet")


def _described(found: Look) -> str:
    streams, running, entries, size, notes, on_disk = found.figures
    said = (
        f"kept: {_count(streams, 'stream')} ({running:,} running), {_count(entries, 'entry')} of {_size(size)}, "
        f"{_count(notes, 'note')}; {_size(on_disk)} on disk"
    )
    if found.next_expiry is None or math.isinf(found.next_expiry):
        return said
    left = found.next_expiry - time.time()
    return said + ("; some has expired and is about to go" if left <= 0 else f"; the next expires in {_time(left)}")


def _count(number: int, what: str) -> str:
    plural = what if number == 1 else what[:-1] + "ies" if what.endswith("y") else what + "s"
    return f"{number:,} {plural}"


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _time(seconds: float) -> str:
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 100 * length:
            return f"{max(seconds / length, 1):.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
