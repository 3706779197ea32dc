"""A run of frames that still grows: whole frames, and frames of which only the holes were kept as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.wire.envelope import PLAIN, Packed, between, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenwire.wire.envelope import Codec, Group, Parts

# Of a run in which more than every so-many-th frame came whole, all frames are looked at again.
_FEW: Final = 8
# So few frames are sooner decoded than taken apart.
_LONE: Final = 3


class OpenRun:
    """The parts of a `Packed`, as lists. They stay the same objects for good: whoever adds often may bind their
    ``append``.

    Attributes:
        numbers: per frame the place of its template among its codec's, or ``PLAIN``.
        holes: of all frames that have a template, in a row; each of them passed ``is_string_body`` or the like.
        plain: the other frames.
    """

    __slots__ = ("holes", "numbers", "plain")

    def __init__(self) -> None:
        self.numbers = bytearray()
        self.holes: list[bytes] = []
        self.plain: list[bytes] = []

    def __len__(self) -> int:
        """How many frames."""
        return len(self.numbers)

    def extend(self, frames: Sequence[bytes]) -> None:
        """Add whole frames."""
        self.plain.extend(frames)
        self.numbers.extend(b"\xff" * len(frames))

    def cut(self, codec: Codec) -> bool:
        """Take apart what came whole before *codec* knew a template, if that is easy. All of the run must be whole
        frames."""
        parts = codec.run_apart(self.plain)
        if parts is None:
            return False
        self.numbers[:] = parts.numbers
        self.holes[:] = parts.holes
        self.plain[:] = parts.plain
        return True

    def slice(self, codec: Codec | None, start: int, stop: int) -> Sequence[bytes]:
        """The frames from *start* up to, not including, *stop*."""
        if not self.holes:
            return self.plain[start:stop]
        assert codec is not None  # who learned the templates
        return self._packed(codec).slice(start, stop)

    def groups(self, codec: Codec | None, start: int, stop: int) -> Iterator[Group]:
        """The same frames, those of one envelope that stand together as one; also those that came whole, where a few
        of them are easily taken apart."""
        templates = () if codec is None else codec.templates
        for group in grouped(templates, bytes(self.numbers), self.holes, self.plain, start, stop):
            parts = None
            if codec is not None and group.template is None and group.size > _LONE:
                parts = codec.run_apart(group.parts)
            if parts is None:
                yield group
            else:
                yield from grouped(templates, *parts, 0, group.size)

    def parts(self, codec: Codec | None, start: int, stop: int) -> Parts:
        """The frames from *start* up to, not including, *stop*, as they are kept; if all came whole and are easily
        taken apart, then so."""
        templates = () if codec is None else codec.templates
        parts = between(templates, bytes(self.numbers), self.holes, self.plain, start, stop)
        if codec is not None and not parts.holes and len(parts.plain) > _LONE:
            return codec.run_apart(parts.plain) or parts
        return parts

    def seal(self, codec: Codec) -> Packed:
        """All frames, packed; the run is empty afterwards."""
        if len(self.plain) * _FEW > len(self.numbers):
            frames = self.slice(codec, 0, len(self.numbers))
            packed = codec.pack(frames)
        else:
            packed = self._packed(codec)
            codec.count(hits=len(self.numbers) - len(self.plain), misses=len(self.plain))
        self.numbers.clear()
        self.holes.clear()
        self.plain.clear()
        return packed

    def _packed(self, codec: Codec) -> Packed:
        return Packed(codec.templates, bytes(self.numbers), b"\n".join(self.holes), tuple(self.plain))


assert PLAIN == 0xFF  # as in `extend`
