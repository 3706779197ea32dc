"""How many tokens a text is, about: for answers whose provider did not say.

The rule, for each kind of character how many of them make a token:

    letters and white space of ASCII       4.4    English prose is 4 to 4.6, spaces included
    digits                                 2.5    tokenizers group up to three
    other ASCII                            2      punctuation, and code, comes in pairs: ``":``, ``},``
    two bytes of UTF-8                     2.5    accents, Greek, Cyrillic, Hebrew, Arabic
    three bytes                            1.2    Chinese, Japanese, Korean; also Indic scripts and Thai
    four bytes                             0.5    emoji

A quarter of the characters, the usual rule, is three times too low for Chinese, and a third for JSON. Providers'
tokenizers differ by as much as a third among themselves; nothing here claims to be better than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PROSE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz \t\r\n"
_DIGITS: Final = b"0123456789"
_ASCII: Final = bytes(range(0x80))
# The first bytes of longer characters tell their lengths (RFC 3629 section 3).
_KINDS: Final = (
    (_PROSE, 4.4),
    (_DIGITS, 2.5),
    (bytes(byte for byte in _ASCII if byte not in _PROSE + _DIGITS), 2.0),
    (bytes(range(0xC0, 0xE0)), 2.5),
    (bytes(range(0xE0, 0xF0)), 1.2),
    (bytes(range(0xF0, 0xF8)), 0.5),
)

#: What a message costs beside its text (role, delimiters), and an image: vendors take 85 to 1,600, by size and detail.
PER_MESSAGE: Final = 4
PER_IMAGE: Final = 800

# Members of a request that a model reads. All others are parameters.
_READ: Final = ("system", "instructions", "messages", "input", "contents", "prompt", "tools", "functions")
# Strings that are no text: names of kinds, references, and what was encrypted or encoded.
_UNREAD: Final = frozenset({
    "role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "media_type", "mime_type", "mimeType", "format",
    "url", "data", "file_data", "file_id", "signature", "thoughtSignature", "encrypted_content",
})  # fmt: skip
_IMAGES: Final = frozenset({"image", "image_url", "input_image"})


def count(text: str) -> float:
    """About how many tokens *text* is; adds up over the parts of a text. A nanosecond a byte and kind."""
    data = text.encode("utf-8", "replace")
    size = len(data)
    # bytes.translate deletes in C: what it shortens is the count.
    return sum((size - len(data.translate(None, kind))) / per_token for kind, per_token in _KINDS)


def whole(tokens: float) -> int:
    """A sum of ``count`` as a number of tokens: any text at all is one."""
    return max(round(tokens), 1) if tokens else 0


def count_prompt(body: bytes, count: Callable[[str], float] = count) -> int | None:
    """About how many tokens the request *body* (JSON, of any vendor) gives its model to read, by *count*; None if that
    is no JSON.

    Linear in the body. What is encoded in it (pictures, files) counts by the piece, if at all.
    """
    try:
        request = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # providers take half characters, msgspec does not: a rare body has no count
        return None
    if not isinstance(request, dict):
        return None
    total = 0.0
    for name in _READ:
        value = request.get(name)
        if isinstance(value, list) and name in ("messages", "contents", "input"):
            total += PER_MESSAGE * len(value)
        total += _read(value, count)
    return whole(total)


def _read(value: Any, count: Callable[[str], float]) -> float:
    """The tokens of every text in *value*. A stack and not a recursion: how deep JSON goes is the caller's choice."""
    total = 0.0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            total += count(item)
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            kind = item.get("type")
            if (isinstance(kind, str) and kind in _IMAGES) or "inlineData" in item or "inline_data" in item:
                total += PER_IMAGE
                continue
            names = [name for name in item if name not in _UNREAD]
            total += count(" ".join(names)) if "properties" in item or "parameters" in item else 0.0
            waiting += [item[name] for name in names]
    return total


def count_all(texts: Iterable[str]) -> float:
    """``count`` of many pieces, put together first: a call for each would cost ten times as much."""
    return count("".join(texts))
