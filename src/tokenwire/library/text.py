"""The text of an answer, out of its updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.client import Reset
from tokenwire.dialects.deltas import TextDelta
from tokenwire.errors import CursorLost

if TYPE_CHECKING:
    from tokenwire.client import Update


def text_of(update: Update) -> str:
    """What *update* adds to the text of the first choice. Raises ``CursorLost`` where what was read is void."""
    if isinstance(update, TextDelta) and update.choice == 0:
        return update.text
    if isinstance(update, Reset):
        message = f"the relay cannot continue what was read ({update.reason}): ask again, or read the deltas instead"
        raise CursorLost(410, "reset", message, earliest=update.earliest)
    return ""
