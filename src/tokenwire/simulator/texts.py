"""What the pretended model says: texts of many kinds and scripts, picked by the prompt.

The choice is a pure function of the prompt: the text whose words occur in it most often, and among equals
(also when nothing matches) the one that a checksum of the prompt points at. So a retry gets the same answer,
and different prompts get different ones.
"""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
import zlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from tokenwire.simulator.tokens import pieces

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_WORD = re.compile(r"\w+")
_BREAK = "\n\n---\n\n"

# Only the beginning of a prompt is looked at: the choice needs no more, and a prompt may have megabytes.
_LOOKED_AT = 10_000


@dataclass(frozen=True)
class Text:
    """One thing to say: ``kind`` as in the index, ``words`` lower case, ``body`` whole."""

    name: str
    kind: str
    words: frozenset[str]
    body: str

    @functools.cached_property
    def pieces(self) -> tuple[str, ...]:
        """The body, cut into tokens once."""
        return tuple(pieces(self.body))


@functools.cache
def library() -> tuple[Text, ...]:
    """Every text, in the order of the index; read from the package's files on first use."""
    folder = resources.files("tokenwire.simulator") / "texts"
    index = tomllib.loads((folder / "index.toml").read_text("utf-8"))
    return tuple(
        Text(
            name=name,
            kind=entry["kind"],
            words=frozenset(f"{index['kinds'][entry['kind']]} {entry['words']}".split()),
            body=_BREAK.join(_read(folder, part) for part in entry.get("parts", [name])),
        )
        for name, entry in index["texts"].items()
    )


def pick(prompt: str, *, variant: int = 0) -> Text:
    """The text that fits *prompt*; ``variant`` 1, 2 … are the next best (the alternatives of ``n`` > 1)."""
    prompt = prompt[:_LOOKED_AT]
    words = _words_of(prompt)
    texts = library()
    turn = zlib.crc32(prompt.encode("utf-8", "surrogatepass"))
    order = sorted(
        range(len(texts)),
        # The checksum turns the whole library, so that equals come in another order for another prompt.
        key=lambda i: (-len(texts[i].words & words), (i + turn) % len(texts)),
    )
    return texts[order[variant % len(order)]]


def _words_of(prompt: str) -> set[str]:
    """Lower-case words, their singular, and the first foreign script (for a Greek prompt: ``greek``)."""
    words = set(_WORD.findall(prompt.lower()))
    words |= {word[:-1] for word in words if word.endswith("s")}
    for char in prompt:
        if char.isalpha() and not char.isascii():
            script = unicodedata.name(char, "").partition(" ")[0].lower()
            if script != "latin":
                words.add(script)
                break
    return words


def _read(folder: Traversable, name: str) -> str:
    # Bytes, not text mode: universal newlines would change the lone separators in odd-characters.
    return (folder / f"{name}.txt").read_bytes().decode("utf-8").removesuffix("\n")
