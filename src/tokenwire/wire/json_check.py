"""The opinions that schemas have of one value while it comes, and how one that dies takes others with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.wire.json_events import path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.wire.json_events import Chain
    from tokenwire.wire.json_node import Broken, Node

# What a check is to the one that depends on it.
MUST: Final = 0  # they die together
ANY: Final = 1  # the other dies with the last of them: anyOf
ONE: Final = 2  # the same, and at the end only one may live: oneOf
IF, THEN, ELSE = 3, 4, 5
NOT: Final = 6  # at the end it has to be dead
CONTAINS: Final = 7  # the items that live to their end are counted
LOOSE: Final = 8  # it matters if nothing else has judged the same member: unevaluated…
NEEDED: Final = 9  # it matters if a name is there: dependentSchemas


_NONE_LEFT: Final = [0, 0, 0]
_NO_MEMBERS: Final[dict[Any, Any]] = {}
_NO_ITEMS: Final[set[Any]] = set()


class Violated(Exception):
    """The value cannot become valid any more."""

    def __init__(self, chain: Chain, broken: Broken) -> None:
        self.chain = chain
        self.broken = broken
        super().__init__(chain, broken)


class Check:
    """One schema's opinion of one value: it lives as long as the value may still satisfy the schema."""

    __slots__ = ("death", "done", "left", "links", "loose", "matched", "node", "seen", "subs")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.death: tuple[Chain, Broken] | None = None  # where and of what
        self.links: list[tuple[Check | None, int]] = []  # who depends on it, and how; None is the root's
        self.subs: Sequence[
            tuple[int, Check, str]
        ] = ()  # checks of the same value: role, check, name (dependentSchemas)
        self.done = False
        # There is a check for each value and schema, so what few schemas need is made for those only.
        self.left = [0, len(node.any_of), len(node.one_of)] if node.in_place else _NONE_LEFT  # living branches, by role
        self.loose: dict[str | int, Check] = {} if node.unevaluated else _NO_MEMBERS  # perhaps judged by nothing else
        self.matched: set[int] = set() if node.contains is not None else _NO_ITEMS  # items that `contains` wants
        self.seen: set[Any] = set() if node.unique else _NO_ITEMS  # items, for uniqueItems

    def sub(self, role: int) -> Check | None:
        return next((check for its, check, _ in self.subs if its == role), None)

    def die(self, chain: Chain, broken: Broken) -> None:
        """The value at *chain* breaks this schema. Goes on to all that depend on it, as far as their roles carry it.

        Raises:
            Violated: it reached the root.
        """
        left: list[tuple[Check, Chain, Broken]] = [(self, chain, broken)]
        while left:
            check, chain, broken = left.pop()
            if check.death is not None:
                continue
            check.death = chain, broken
            for parent, role in check.links:
                if parent is None:
                    raise Violated(chain, broken)
                if role == MUST:
                    left.append((parent, chain, broken))
                elif role in (ANY, ONE):
                    parent.left[role] -= 1
                    if not parent.left[role]:
                        left.append((parent, *parent._all_dead(role)))
                elif role in (IF, THEN, ELSE):
                    taken = parent._branch_dead()
                    if taken is not None:
                        left.append((parent, *taken))

    def _branch_dead(self) -> tuple[Chain, Broken] | None:
        """Why no way through if/then/else is left, if none is."""
        dead = [None if check is None else check.death for check in map(self.sub, (IF, THEN, ELSE))]
        condition, then, otherwise = dead
        return otherwise if condition or then else None

    def _all_dead(self, role: int) -> tuple[Chain, Broken]:
        """Why the last branch of an anyOf or oneOf died: of the branch that went farthest, or of all if none did."""
        deaths = [check.death for its, check, _ in self.subs if its == role and check.death is not None]
        farthest = max(deaths, key=lambda death: len(path_of(death[0])))
        if any(chain is not deaths[0][0] for chain, _ in deaths):
            return farthest
        expected = dict.fromkeys(broken.expected for _, broken in deaths)
        if len(expected) == 1:
            return farthest
        word = "anyOf" if role == ANY else "oneOf"
        chain, last = deaths[-1]
        return chain, last._replace(keyword=word, expected=" or ".join(expected))
