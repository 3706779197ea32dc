"""Points in time as Ollama writes them: RFC 3339 with a fraction of up to nine digits."""

from __future__ import annotations

import re
from typing import Final

_SHAPE: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DAY: Final = 86_400
#: Days from 0000-03-01 to 1970-01-01. Years that begin in March have their leap day last.
_EPOCH: Final = 719_468


def seconds_of(text: str) -> float | None:
    """The Unix time of *text*, in seconds; None if it is no point in time."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    ahead = 0
    if found[8]:
        ahead = (int(found[9]) * 60 + int(found[10])) * (60 if found[8] == "+" else -60)
    whole = _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second - ahead
    return whole + float(f"0.{found[7] or 0}")


def text_of(seconds: float) -> str:
    """*seconds* since 1970 in UTC. Nine digits, of which the last three are zeros: a float knows no more."""
    micros = round(seconds * 1_000_000)
    days, rest = divmod(micros, _DAY * 1_000_000)
    year, month, day = _date(days)
    second, fraction = divmod(rest, 1_000_000)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{year:04}-{month:02}-{day:02}T{clock}.{fraction:06}000Z"


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to that date."""
    if month < 3:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - _EPOCH


def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day, so many *days* after 1970-01-01."""
    era, day = divmod(days + _EPOCH, 146_097)  # four centuries
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    year += 400 * era
    return (year, month + 3, day) if month < 10 else (year + 1, month - 9, day)
