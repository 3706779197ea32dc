"""One envelope: the bytes that the frames of a stream share, and the holes between them.

    data: {"choices":[{"delta":{"content":" HOLE "}}],"obfuscation":" HOLE "}\\n\\n
    `------------ literal 0 -------------'      `--- literal 1 ----'      `-- 2 --'

A template is learned from one frame (`look`, then `learn`), and from then on takes every frame apart that
differs from it in the holes alone: it compares both ends, and splits the rest at the literals, from the
right. Nothing in a hole passes for a literal, because a literal ends in what the hole behind it cannot hold:

    before a string   a quote that follows a colon, a comma, a bracket or a space: never a backslash
    before a number   no digit
    before spaces     no space

From the left it would not do: what follows a text may be just `"}`, and `\\"}` is common in texts that are
JSON themselves. Whether a hole holds the body of a JSON string is left to the caller, who can ask that for
many frames at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenwire.wire.json_spans import Kind, Path, Span, decode, guess, locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PADDING: Final[Path] = ("padding",)
"""No member's path but a token: spaces before the last ``}`` of the root, Anthropic's masking of lengths."""

MAX_HOLES: Final = 4

# A template costs its literals in memory; a frame above this (arbitrary) has a text or payload that dwarfs
# the envelope, or is one of a kind.
MAX_FRAME: Final = 4096

# Opening brackets and braces, wherever they stand, so that no frame can exhaust the parser's stack.
MAX_OPEN: Final = 200


class Template:
    """The literals of a frame and the kinds of its holes, in the order of the bytes. Immutable.

    Args:
        literals: one more than there are holes; none is empty.
        kinds: one per hole, at least one; spaces only as the last.
    """

    __slots__ = (
        "_head",
        "_inner",
        "_integers",
        "_least",
        "_padded",
        "_seam",
        "_start",
        "_stop",
        "_tail",
        "kinds",
        "literals",
    )

    def __init__(self, literals: tuple[bytes, ...], kinds: tuple[Kind, ...]) -> None:
        self.literals = literals
        self.kinds = kinds
        # For `cut`, ready to use: 10 % of its time.
        self._head = literals[0]
        self._tail = literals[-1]
        self._start = len(self._head)
        self._stop = -len(self._tail)
        self._least = sum(map(len, literals))
        self._inner = literals[-2:0:-1]  # from the right
        self._seam = self._tail + self._head
        self._padded = kinds[-1] is Kind.SPACES
        self._integers = tuple(place for place, kind in enumerate(kinds) if kind is Kind.INTEGER)

    def cut(self, frame: bytes) -> Sequence[bytes] | None:
        """The holes of *frame*, or None if it has another envelope.

        Strings are not looked into: the result counts only if each of them `is_string_body`.
        """
        # Without the length, one quote could pass for the end of one literal and the start of the next.
        if len(frame) < self._least or not frame.startswith(self._head) or not frame.endswith(self._tail):
            return None
        rest = frame[self._start : self._stop]
        inner = self._inner
        if not inner:
            return (rest,)
        rest, found, hole = rest.rpartition(inner[0])
        if not found or (self._padded and hole.strip(b" ")):
            return None
        if len(inner) == 1 and not self._integers:
            return rest, hole  # text and obfuscation, or text and padding: 0.2 us saved
        holes = [hole]
        for literal in inner[1:]:
            rest, found, hole = rest.rpartition(literal)
            if not found:
                return None
            holes.append(hole)
        holes.append(rest)
        holes.reverse()
        for place in self._integers:
            if not _is_integer(holes[place]):
                return None
        return holes

    def cut_run(self, frames: Sequence[bytes]) -> list[bytes] | None:
        """The holes of all *frames*, in a row, if `cut` takes each of them; else None, or if that is not easily known.

        For one or two holes, which is what streams of text have: a quarter of the price of one by one.
        """
        if len(self.kinds) > 2 or self._integers:
            return None
        parts = [frame[self._start : self._stop] for frame in frames]
        # Put together again, they are the frames: then, the lengths being equal, each of them is.
        if self._head + self._seam.join(parts) + self._tail != b"".join(frames):
            return None
        if not self._inner:
            return parts
        inner = self._inner[0]
        holes: list[bytes] = []
        for part in parts:
            rest, found, hole = part.rpartition(inner)
            if not found or (self._padded and hole.strip(b" ")):
                return None
            holes += (rest, hole)
        return holes

    def fill(self, holes: Iterator[bytes]) -> bytes:
        """The frame with the next ``len(kinds)`` of *holes*: the inverse of `cut`."""
        if not self._inner:
            return self._head + next(holes) + self._tail
        pieces = [self._head]
        for literal in self.literals[1:]:
            pieces += (next(holes), literal)
        return b"".join(pieces)


def _is_integer(hole: bytes) -> bool:
    return hole.isdigit() and (len(hole) == 1 or not hole.startswith(b"0"))


class Sighting(NamedTuple):
    """A frame that could become a template; seen at the price of one decoding.

    Attributes:
        start, stop: where its JSON stands.
        padded: whether spaces before the last brace may be a hole.
        paths: where the other holes will be, in the order in which they were declared.
        expected: the decoded JSON, but with its sentinel at each of the paths.
        around: the bytes before and after the JSON.
    """

    start: int
    stop: int
    padded: bool
    paths: tuple[Path, ...]
    expected: Any
    around: tuple[bytes, bytes]

    @property
    def shape(self) -> int:
        """A hash, good within this process, and the same for frames that differ in nothing but holes (or in white
        space within their JSON besides)."""
        return hash((self.around, repr(self.expected)))


def look(frame: bytes, paths: Sequence[Path], *, padded: bool = False) -> Sighting | None:
    """See whether *frame* has values at *paths* that could be holes. Never raises.

    Args:
        paths: where holes may be, each once, the more important ones first; at most `MAX_HOLES` become
            holes. A hole is where a frame has a string, or a whole number that is not negative.
        padded: one more hole, counted with the others, may take the spaces before the last brace.
    Returns:
        None if *frame* has no string there (numbers and padding alone are not worth a template), or no JSON,
        or several lines of data, or a name twice in one object, or is beyond `MAX_FRAME` or `MAX_OPEN`.
    """
    if len(frame) > MAX_FRAME or frame.count(b"[") + frame.count(b"{") > MAX_OPEN:
        return None
    try:
        start, stop = _payload(frame)
        expected = decode(frame[start:stop])
    except ValueError:
        return None
    padded = padded and isinstance(expected, dict)
    found: list[Path] = []
    kinds: set[Kind] = set()
    for path in paths:
        if len(found) == MAX_HOLES - padded:
            break
        parent = _parent(expected, path)
        kind = None if parent is None else _kind(parent[path[-1]])
        if kind is not None:
            parent[path[-1]] = _sentinel(kind, len(found))[1]
            found.append(path)
            kinds.add(kind)
    if Kind.STRING not in kinds:
        return None
    return Sighting(start, stop, padded, tuple(found), expected, (frame[:start], frame[stop:]))


def learn(frame: bytes, sighting: Sighting) -> Template | None:
    """The template of *frame* with the holes of its *sighting*, if the sentinel test passes. Never raises.

    The test asks a reader who knows nothing of spans: with a sentinel in each hole, the frame must decode to
    what the sighting expects, which is the original with the sentinels at their paths and else unchanged. So
    it does not matter how the spans were found: first by a guess, which costs a fifth.
    """
    for find in (guess, locate):
        template = _build(frame, sighting, find(frame, sighting.start, sighting.stop, sighting.paths))
        if template is not None:
            return template
    return None


def _build(frame: bytes, sighting: Sighting, spans: Mapping[Path, Span]) -> Template | None:
    start, stop, padded, paths, expected, _ = sighting
    # The number -0 has no span.
    numbers = {spans[path]: number for number, path in enumerate(paths) if path in spans}
    if not numbers:
        return None
    fillings = {span: _sentinel(span.kind, number)[0] for span, number in numbers.items()}
    holes = sorted(fillings, key=lambda span: span.start)
    if padded:
        brace = start + len(frame[start:stop].rstrip(b" \t")) - 1
        spaces = Span(Kind.SPACES, len(frame[:brace].rstrip(b" ")), brace)
        # A number that ends at the spaces would leave an empty literal between the two: no hole, then.
        if holes[-1].stop < spaces.start:
            holes.append(spaces)
            fillings[spaces] = b"   "
    edges = [0, *(edge for span in holes for edge in (span.start, span.stop)), len(frame)]
    literals = tuple(frame[left:right] for left, right in zip(edges[::2], edges[1::2], strict=True))
    template = Template(literals, tuple(span.kind for span in holes))
    filled = template.fill(fillings[span] for span in holes)
    try:
        start, stop = _payload(filled)
        return template if decode(filled[start:stop]) == expected else None
    except ValueError:
        return None


def _kind(value: object) -> Kind | None:
    if isinstance(value, str):
        return Kind.STRING
    return Kind.INTEGER if type(value) is int and value >= 0 else None  # a bool is an int, by isinstance


def _sentinel(kind: Kind, number: int) -> tuple[bytes, str | int]:
    """What goes into hole *number*, and how it decodes. With escapes, which nothing but a string takes."""
    if kind is Kind.INTEGER:
        return b"98710%d" % number, 987100 + number
    return b'hole %d \\"\\\\\\u00e9' % number, f'hole {number} "\\é'


def _parent(value: Any, path: Path) -> Any:
    """The object or array that holds what *path* leads to; None if it leads nowhere."""
    parent = None
    for step in path:
        if isinstance(value, str):  # can be indexed too, and holds nothing
            return None
        parent = value
        try:
            value = parent[step]
        except (LookupError, TypeError):
            return None
    return parent


def _payload(frame: bytes) -> tuple[int, int]:
    """Where the JSON of *frame* stands: from its start (NDJSON), or in its one line of data (SSE).

    Raises:
        ValueError: there is no such line, or several, which an event joins by line feeds.
    """
    if frame.startswith(b"{"):
        return 0, len(frame.rstrip(b"\r\n"))
    found: tuple[int, int] | None = None
    at = 0
    for line in frame.splitlines(keepends=True):  # bytes part at CR, LF and CRLF alone, which is SSE's rule
        if line.startswith(b"data:"):
            if found is not None:
                raise ValueError("several lines of data")
            found = at + 5 + line.startswith(b"data: "), at + len(line.rstrip(b"\r\n"))
        at += len(line)
    if found is None:
        raise ValueError("no line of data")
    return found
