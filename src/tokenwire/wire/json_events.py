"""What a push parser of JSON tells of the values it meets, by path."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Path: TypeAlias = tuple[str | int, ...]
"""Names and array positions from the root to a value: ``("items", 3, "name")``. The root's is ``()``."""

Growing: TypeAlias = Literal["object", "array", "string"]


def pointer_of(path: Path) -> str:
    """*path* as a JSON Pointer (RFC 6901, section 3): ``/items/3/name``; the root's is the empty text."""
    return "".join(
        f"/{step}" if type(step) is int else "/" + str(step).replace("~", "~0").replace("/", "~1") for step in path
    )


Chain: TypeAlias = tuple[Any, ...]
"""A path as the parser holds it: ``()``, or (the chain of the container, name or position). One step is one small
tuple, however deep it is, and what is below a container shares the container's."""


def path_of(chain: Chain) -> Path:
    """The path that *chain* is."""
    steps: list[str | int] = []
    while chain:
        chain, step = chain
        steps.append(step)
    return tuple(reversed(steps))


class _At(msgspec.Struct, frozen=True, gc=False):
    chain: Chain

    @property
    def path(self) -> Path:
        """Names and positions from the root to the value. Made when asked for."""
        return path_of(self.chain)

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer (RFC 6901). Made when asked for."""
        return pointer_of(self.path)

    def __repr__(self) -> str:
        rest = (f", {name}={getattr(self, name)!r}" for name in self.__struct_fields__[1:])
        return f"{type(self).__name__}({self.pointer!r}{''.join(rest)})"


# Not tracked by the garbage collector: nothing that a parser puts into an event leads back to it, and there may be
# several for each token of a model.
class Started(_At, frozen=True, gc=False):
    """A value that grows opened: an object, an array or a string. The others are told when they are complete."""

    kind: Growing


class StringDelta(_At, frozen=True, gc=False):
    """*text* was added to the string at *path*: decoded, never empty, no half characters."""

    text: str


class Completed(_At, frozen=True, gc=False):
    """The value at *path* is whole. It will not change any more, unless its name is given a second time."""

    value: Any


PathEvent: TypeAlias = Started | StringDelta | Completed
