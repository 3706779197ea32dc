"""What the settings say of cached answers: of one model, in ``[models.NAME.cache]``."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from tokenwire.errors import ConfigError

#: Members that are the question itself, in whichever dialect. Without one of them, all answers would be the same.
_QUESTION: Final = frozenset({"messages", "input", "contents", "prompt", "system", "systemInstruction", "instructions"})


class CacheSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Off by default: nothing is kept, nothing is shared.

    Attributes:
        seconds: how long an answer is kept; 0: not at all.
        replay: how it is told again: ``full`` speed, or ``paced`` as it came (without the wait before its first token,
            and no gap longer than a second).
        share: identical requests at the same time are one request to the upstream.
        ignore: members of a request to the provider (``metadata``, say) that make no difference to its answer, beside
            those that never do (``gateway.cache_key``).
    """

    seconds: float = 0.0
    replay: Literal["full", "paced"] = "full"
    share: bool = False
    ignore: list[str] = []

    @property
    def active(self) -> bool:
        """Whether anything is kept or shared."""
        return self.seconds > 0 or self.share


OFF: Final = CacheSettings()


def check_cache(cache: CacheSettings, where: str) -> None:
    """The rules that types cannot say, but for those of numbers. Raises ``ConfigError``."""
    if not cache.active and cache != OFF:
        raise ConfigError("say how many seconds an answer is kept, or share = true", where=f"{where}.seconds")
    for name in cache.ignore:
        if name in _QUESTION:
            message = f"without {name!r} different questions would get the same answer"
            raise ConfigError(message, where=f"{where}.ignore")
