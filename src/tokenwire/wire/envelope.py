"""Envelopes: the frames of a stream, kept as what is new in them, and rebuilt to the byte.

A chunk of 250 bytes carries five of text, and the next chunk repeats the other 245. A `Codec`, one per
stream, learns up to four such envelopes (`envelope_template`) from the frames themselves, and packs runs of
frames: a number per frame for its template, the contents of all holes in a row, and those frames as they are
that fit no template.

Lossless by construction: a frame is packed only if the template's literals and the holes, put together, are
that frame. The sentinel test at learning and the check of every hole add that a packed frame *means* what its
holes say, so that a later reader may take the text from there.

Learning and packing are off the hot path: the engine does them every so many frames. Once a template is known, the
newest frames may be taken apart by it as they come (`engine.lane`, into an `envelope_run`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire.wire.envelope_template import PADDING, learn, look
from tokenwire.wire.json_spans import is_string_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenwire.wire.envelope_template import Template
    from tokenwire.wire.json_spans import Path

__all__ = ["MAX_ATTEMPTS", "MAX_TEMPLATES", "NEVER_HOLES", "PADDING", "PLAIN", "Codec", "Group", "Packed", "Statistics"]

MAX_TEMPLATES: Final = 4

# Frames in a row that are looked at for a template and do not lead to one. An honest stream has a dozen
# oddities between its runs of text (role, block starts, pings, the head of a tool call); a hostile one makes
# us look 4 x 16 times at 12 us, and is then left alone.
MAX_ATTEMPTS: Final = 16

# They decide how a stream ended and what it cost, and stay where every reader looks for them.
NEVER_HOLES: Final = frozenset(
    {"usage", "usageMetadata", "finish_reason", "finishReason", "stop_reason", "done_reason", "logprobs"}
)

# From so many frames on, a run is enough to learn from at once.
RUN: Final = 16

PLAIN: Final = 255  # a template's number for "none"

# Accounting, for CPython on 64 bits: a `Packed` with its two bytes objects and two tuples; and what a frame
# kept plain costs beside its bytes: the head of an object, and a place in the tuple.
_OVERHEAD: Final = 200
_OVERHEAD_PLAIN: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a codec has done so far.

    Attributes:
        hits: frames packed into a template.
        misses: frames kept as they were.
        templates: templates installed, at most ``MAX_TEMPLATES``.
        attempts: frames looked at in search of a template, at most ``MAX_TEMPLATES * MAX_ATTEMPTS``.
    """

    hits: int
    misses: int
    templates: int
    attempts: int


class Group(NamedTuple):
    """Frames that stand together, *size* of them: of one template, and then their holes in a row, or of none, and then
    as they are."""

    template: Template | None
    size: int
    parts: Sequence[bytes]


class Packed:
    """A run of frames, packed. Immutable; does not need its codec any more. Made by `Codec.pack`."""

    __slots__ = ("_holes", "_numbers", "_plain", "_templates")

    def __init__(self, templates: tuple[Template, ...], numbers: bytes, holes: bytes, plain: tuple[bytes, ...]) -> None:
        self._templates = templates
        self._numbers = numbers  # per frame: its template's place, or PLAIN
        self._holes = holes  # of all frames in order, joined by LF, which no hole can contain
        self._plain = plain

    def __len__(self) -> int:
        """How many frames."""
        return len(self._numbers)

    @property
    def newest(self) -> int | None:
        """The template's number of the last frame that has one."""
        numbers = self._numbers.rstrip(bytes([PLAIN]))
        return numbers[-1] if numbers else None

    @property
    def size(self) -> int:
        """Bytes of memory held, to a few percent; without the templates, which the runs of a stream share."""
        plain = sum(map(len, self._plain)) + _OVERHEAD_PLAIN * len(self._plain)
        return _OVERHEAD + len(self._numbers) + len(self._holes) + plain

    def unpack(self) -> list[bytes]:
        """All frames, byte for byte as they were packed."""
        return self.slice(0, len(self._numbers))

    def frame(self, index: int) -> bytes:
        """One frame, counted from 0. Splits the whole run (10 us for 256 frames): to read on, take a `slice`.

        Raises:
            IndexError: there is no such frame.
        """
        if not 0 <= index < len(self._numbers):
            raise IndexError(f"frame {index} of {len(self._numbers)}")
        return self.slice(index, index + 1)[0]

    def groups(self, start: int, stop: int) -> Iterator[Group]:
        """The frames from *start* up to, not including, *stop*, those of one envelope that stand together as one."""
        return grouped(self._templates, self._numbers, self._holes.split(b"\n"), self._plain, start, stop)

    def parts(self, start: int, stop: int) -> Parts:
        """The frames from *start* up to, not including, *stop*, as they are kept."""
        return between(self._templates, self._numbers, self._holes.split(b"\n"), self._plain, start, stop)

    @property
    def templates(self) -> tuple[Template, ...]:
        """What its frames' numbers mean."""
        return self._templates

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The frames from *start* up to, not including, *stop*, by the rules of a list's slice."""
        start, stop, _ = slice(start, stop).indices(len(self._numbers))
        before = self._numbers[:start]
        skipped = sum(before.count(at) * len(template.kinds) for at, template in enumerate(self._templates))
        holes = iter(self._holes.split(b"\n")[skipped:])
        plain = iter(self._plain[before.count(PLAIN) :])
        templates = self._templates
        return [
            next(plain) if number == PLAIN else templates[number].fill(holes) for number in self._numbers[start:stop]
        ]


class Parts(NamedTuple):
    """Frames taken apart: per frame its template's place or ``PLAIN``; the holes in a row; the plain ones."""

    numbers: bytes
    holes: Sequence[bytes]
    plain: Sequence[bytes]

    def packed(self, templates: tuple[Template, ...]) -> Packed:
        """The same, to be kept."""
        return Packed(templates, self.numbers, b"\n".join(self.holes), tuple(self.plain))


def count_holes(templates: Sequence[Template], numbers: bytes) -> int:
    """How many holes frames of these *numbers* have."""
    if len(templates) == 1:  # nearly always, and asked for each piece of a log that is stored
        return numbers.count(0) * len(templates[0].kinds)
    return sum(numbers.count(at) * len(template.kinds) for at, template in enumerate(templates))


def between(
    templates: Sequence[Template], numbers: bytes, holes: Sequence[bytes], plain: Sequence[bytes], start: int, stop: int
) -> Parts:
    """Of frames taken apart those from *start* up to, not including, *stop*."""
    hole = whole = 0
    if start:
        before = numbers[:start]
        hole, whole = count_holes(templates, before), before.count(PLAIN)
    numbers = numbers[start:stop]
    inside = count_holes(templates, numbers)
    return Parts(
        numbers,
        holes[hole : hole + inside],
        plain[whole : whole + numbers.count(PLAIN)] if plain else (),
    )


def grouped(
    templates: Sequence[Template],
    numbers: bytes,
    holes: Sequence[bytes],
    plain: Sequence[bytes],
    start: int,
    stop: int,
) -> Iterator[Group]:
    """Frames taken apart (as in ``Parts``) from *start* up to, not including, *stop*: those of one template that stand
    together as one."""
    before, numbers = numbers[:start], numbers[start:stop]
    hole = sum(before.count(at) * len(template.kinds) for at, template in enumerate(templates)) if start else 0
    whole = before.count(PLAIN)
    while numbers:
        number = numbers[0]
        rest = numbers.lstrip(numbers[:1])
        size = len(numbers) - len(rest)
        numbers = rest
        if number == PLAIN:
            yield Group(None, size, plain[whole : whole + size])
            whole += size
        else:
            template = templates[number]
            taken = size * len(template.kinds)
            yield Group(template, size, holes[hole : hole + taken])
            hole += taken


class Codec:
    """Packs the frames of one stream, in any number of runs; what it learned from one run serves the next.

    Args:
        holes: paths of the values that vary from frame to frame (`Dialect.holes`), the more important first.
            `PADDING` among them stands for spaces before the last brace.
    Raises:
        ValueError: a path is empty, or leads through one of `NEVER_HOLES`.

    Not to be called from two threads at once.
    """

    __slots__ = (
        "_attempts",
        "_attempts_left",
        "_hits",
        "_misses",
        "_padded",
        "_paths",
        "_seen",
        "_templates",
    )

    def __init__(self, holes: tuple[Path, ...]) -> None:
        for path in holes:
            if not path or not NEVER_HOLES.isdisjoint(path):
                raise ValueError(f"{path} must not be a hole")
        self._paths = tuple(dict.fromkeys(path for path in holes if path != PADDING))
        self._padded = PADDING in holes
        self._templates: tuple[Template, ...] = ()
        self._seen: set[int] = set()
        self._attempts = 0
        self._attempts_left = MAX_ATTEMPTS
        self._hits = 0
        self._misses = 0

    def pack(self, frames: Sequence[bytes]) -> Packed:
        """Pack *frames*, each one SSE event through its blank line, or one NDJSON line.

        Any bytes are taken, and come back unchanged. A frame is kept plain if it fits no template: it differs
        outside of the holes, or one would hold what is no JSON string in UTF-8. Linear in the bytes; in long runs of
        one kind 0.2 us a frame with one hole, 0.4 with two, else 0.5 and 0.8. Never raises.
        """
        if len(frames) >= RUN and not self._templates:
            self.learn(frames)
        parts = (self.run_apart(frames) if len(frames) >= RUN else None) or self._apart(frames)
        misses = len(parts.plain)
        self.count(hits=len(frames) - misses, misses=misses)
        return parts.packed(self._templates)

    def _apart(self, frames: Sequence[bytes]) -> Parts:
        """One by one."""
        templates = self._templates
        numbers = bytearray()
        holes: list[bytes] = []
        for frame in frames:
            for number, template in enumerate(templates):
                cut = template.cut(frame)
                if cut is not None:
                    numbers.append(number)
                    holes += cut
                    break
            else:
                cut = self._learn(frame) if self._attempts_left else None
                if cut is None:
                    numbers.append(PLAIN)
                else:
                    templates = self._templates
                    numbers.append(len(templates) - 1)
                    holes += cut
        # All at once, for a tenth of the price of one by one. No hole can complete what an earlier one began,
        # since a space is part of no escape and of no character of several bytes.
        if not is_string_body(b" ".join(holes)):
            holes = self._cut_again(frames, numbers)
        plain: tuple[bytes, ...] = ()
        if PLAIN in numbers:
            plain = tuple(frame for frame, number in zip(frames, numbers, strict=True) if number == PLAIN)
        return Parts(bytes(numbers), holes, plain)

    @property
    def templates(self) -> tuple[Template, ...]:
        """What was learned so far; grows at its end."""
        return self._templates

    def learn(self, frames: Sequence[bytes]) -> int | None:
        """The number of the template for frames like the ones in the middle of *frames*, a new one if need be; None if
        there is none. It counts if the next frame fits it too: at least two *frames* are needed."""
        middle = (len(frames) - 1) // 2
        frame, following = frames[middle : middle + 2]
        for number, template in enumerate(self._templates):
            if template.cut(frame) is not None and template.cut(following) is not None:
                return number
        if not self._attempts_left:
            return None
        self._attempts += 1
        self._attempts_left -= 1
        sighting = look(frame, self._paths, padded=self._padded)
        learned = None if sighting is None else learn(frame, sighting)
        if learned is None or learned.cut(following) is None:
            return None
        self._install(learned)
        return len(self._templates) - 1

    def _install(self, template: Template) -> None:
        self._templates += (template,)
        self._attempts_left = MAX_ATTEMPTS
        if len(self._templates) == MAX_TEMPLATES:
            self._attempts_left = 0
            self._seen.clear()

    def count(self, *, hits: int, misses: int) -> None:
        """Frames that were packed elsewhere (`envelope_run`)."""
        self._hits += hits
        self._misses += misses

    def statistics(self) -> Statistics:
        """The counts of all runs so far."""
        return Statistics(hits=self._hits, misses=self._misses, templates=len(self._templates), attempts=self._attempts)

    def run_apart(self, frames: Sequence[bytes]) -> Parts | None:
        """All at once, if all of *frames* but a few at both ends fit one template. Not counted."""
        for number, template in enumerate(self._templates):
            start, stop = 0, len(frames)
            while start < min(2, stop) and template.cut(frames[start]) is None:
                start += 1
            while len(frames) - stop < 3 and start < stop and template.cut(frames[stop - 1]) is None:
                stop -= 1
            if start == stop:
                continue
            holes = template.cut_run(frames[start:stop] if stop - start < len(frames) else frames)
            if holes is not None and is_string_body(b" ".join(holes)):
                numbers = (
                    bytes([PLAIN]) * start + bytes([number]) * (stop - start) + bytes([PLAIN]) * (len(frames) - stop)
                )
                return Parts(numbers, holes, (*frames[:start], *frames[stop:]))
        return None

    def _cut_again(self, frames: Sequence[bytes], numbers: bytearray) -> list[bytes]:
        """Some hole is no string body: find which. Returns all holes, and corrects *numbers*."""
        holes: list[bytes] = []
        for at, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
            if number == PLAIN:
                continue
            cut = self._templates[number].cut(frame)
            if cut is None or not is_string_body(b" ".join(cut)):
                numbers[at] = PLAIN
            else:
                holes += cut
        return holes

    def _learn(self, frame: bytes) -> Sequence[bytes] | None:
        """Look for a template in *frame*. Its holes, if that gave a new last one of ``_templates``."""
        self._attempts += 1
        self._attempts_left -= 1
        sighting = look(frame, self._paths, padded=self._padded)
        if sighting is None:
            return None
        # Learned at the second sight: there are four places, and the first chunk of an answer, the start of
        # each tool call and the last chunk have holes too and come once. Should two shapes collide, which are
        # hashes, a template is learned one frame early.
        if sighting.shape not in self._seen:
            self._seen.add(sighting.shape)
            return None
        template = learn(frame, sighting)
        if template is None:
            return None
        self._install(template)
        return template.cut(frame)
