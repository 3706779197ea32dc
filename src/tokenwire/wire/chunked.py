"""HTTP/1.1 chunks that are whole (RFC 9112 section 7.1), taken apart without a parser.

A provider's token is, on the wire, one chunk in one read. Its length alone says how it must begin, so that one table
look-up and two comparisons recognize it. What these functions do not know for sure is left to a real parser.
"""

from __future__ import annotations

#: One more than the largest whole chunk, in bytes as sent, that ``SIZE_LINES`` knows.
LIMIT = 4096


#: What ends a chunked body.
LAST_CHUNK = b"0\r\n\r\n"


def _size_lines(upper: bool) -> list[bytes]:
    lines = [b"\xff"] * LIMIT  # nothing begins with this where no chunk has that size
    for content in range(1, LIMIT):
        line = (b"%X\r\n" if upper else b"%x\r\n") % content
        if len(line) + content + 2 < LIMIT:
            lines[len(line) + content + 2] = line
    return lines


#: Index: size of a whole chunk as sent. Value: the size line that it must begin with. (Rust's hyper writes capitals.)
SIZE_LINES = _size_lines(upper=False)
SIZE_LINES_UPPER = _size_lines(upper=True)


def chunk(content: bytes) -> bytes:
    """*content* (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def contents(data: bytes) -> bytes | None:
    """The contents, if *data* is nothing but whole chunks as providers write them; None for whatever is not surely so.

    Split at CRLF, sizes and contents must alternate. Contents with a CRLF in them, extensions, sizes of mixed case or
    with zeros before them, and the last chunk do not look like that.
    """
    parts = data.split(b"\r\n")
    if parts[-1] or not len(parts) & 1:
        return None
    bodies = parts[1::2]
    sizes = parts[:-1:2]
    if [b"%x" % len(body) for body in bodies] != sizes and [b"%X" % len(body) for body in bodies] != sizes:
        return None
    if not bodies or not all(bodies):
        return None
    return b"".join(bodies)
