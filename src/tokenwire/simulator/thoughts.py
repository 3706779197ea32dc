"""What the pretended model thinks before it answers."""

from __future__ import annotations

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces

_QUOTED = 80
_MUSED = 60


def thoughts(prompt: str, *, tools: bool, results: bool) -> list[str]:
    """Thinking about *prompt*, as tokens."""
    asked = " ".join(prompt.split())
    quoted = asked if len(asked) <= _QUOTED else asked[:_QUOTED] + " …"
    opening = f"The user wrote: “{quoted}”. "
    if results:
        opening += "The tools have answered, so their results can be put together now. "
    elif tools:
        opening += "There are tools; let me see whether one of them is needed. "
    # Another text than the answer's, for a client that mixes the two up must be seen to.
    return [*pieces(opening + "Let me think.\n\n"), *pick(prompt, variant=1).pieces[:_MUSED]]
