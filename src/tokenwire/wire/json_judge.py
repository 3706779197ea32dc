"""Judges one JSON value by a schema while it comes: a violation is seen at the first token that proves it.

How it works. Each open value has a *place*, and in it one *check* for every schema that has to do with it: those of
its parent's members, and all that these apply to the same value (``allOf``, the branches of ``anyOf`` …). A schema has
one check in a place however many ask for it, so the work is at most the text times the size of the schema, and branches
of branches do not multiply. A check knows who depends on it, and in which role. When it dies, the death goes from check
to check as far as the roles carry it: a member's kills its object's, a branch's kills the ``anyOf`` if it was the last.
When it reaches the root the whole text is beyond saving, and `Violated` is raised. At the end of a value its checks
look at the whole of it once: what can only be known then (``required``, ``pattern``, ``not`` …) is judged there, and
every check that still lives is satisfied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenwire.wire.json_check import ANY, CONTAINS, ELSE, IF, LOOSE, MUST, NEEDED, NOT, ONE, THEN, Check, Violated
from tokenwire.wire.json_node import ALWAYS, Broken, Kind, Node, canonical, shown
from tokenwire.wire.json_verdict import verdict

if TYPE_CHECKING:
    from tokenwire.wire.json_events import Chain

_FEW = 8  # names that a sentence lists


class Place:
    """An open value: what it is, and the checks on it."""

    __slots__ = ("chain", "checks", "children", "kind", "length", "longest", "names", "readers", "text", "wants")

    def __init__(self, kind: Kind, chain: Chain) -> None:
        self.kind = kind
        self.chain = chain
        self.checks: dict[Node, Check] = {}
        self.readers: tuple[Check, ...] = ()  # those that look at a string while it comes
        self.longest = 0  # what they may want to compare
        self.text = ""  # as much of the string
        self.length = 0
        self.names: set[str] = set()
        self.children = 0
        self.wants: list[tuple[Node, Check, int]] = []  # what the member that was named will be judged by

    def alive(self) -> list[Check]:
        return [check for check in self.checks.values() if check.death is None]


class Judge:
    """Told of one value in the order of its text. Each call may raise `Violated`; nothing may be called after that."""

    __slots__ = ("_places", "_root", "_slot", "into")

    def __init__(self, root: Node) -> None:
        self._root = root
        self._places: list[Place] = []
        self._slot: str | int = 0
        self.into = 0  # characters of the last piece of a string that were right

    @property
    def chain(self) -> Chain:
        """Where the value is that is open."""
        return self._places[-1].chain

    def start(self, kind: Kind) -> None:
        """The first character of a value came."""
        outer = self._places[-1] if self._places else None
        if outer is None:
            place = Place(kind, ())
            want(place, self._root, None, MUST)
        elif outer.kind == "array":
            place = Place(kind, (outer.chain, outer.children))
            outer.children += 1
            for check in outer.alive():
                self._item(check, place)
        else:
            place = Place(kind, (outer.chain, self._slot))
            for node, check, role in outer.wants:
                sub = want(place, node, check, role)
                if role == LOOSE:
                    check.loose[self._slot] = sub
        self._places.append(place)
        for check in tuple(place.checks.values()):
            self._begin(check, kind)
        if kind == "string" and place.checks:
            nodes = [check.node for check in place.checks.values()]
            if any(node.max_length is not None or node.members is not None for node in nodes):
                place.readers = tuple(place.checks.values())
                place.longest = max((len(text) for node in nodes for text in node.strings), default=0)

    def _item(self, check: Check, place: Place) -> None:
        """An item of the check's array begins in *place*: what it is judged by."""
        node = check.node
        index = place.chain[1]
        if node.max_items is not None and index >= node.max_items:
            check.die(self.chain, Broken("maxItems", f"at most {node.max_items} items", "one more"))
        if index < len(node.prefix):
            want(place, node.prefix[index], check, MUST)
        elif node.items is not None:
            want(place, node.items, check, MUST)
        elif node.unevaluated_items is not None:
            check.loose[index] = want(place, node.unevaluated_items, check, LOOSE)
        if node.contains is not None:
            want(place, node.contains, check, CONTAINS)

    def _begin(self, check: Check, kind: Kind) -> None:
        """What the kind of a value says."""
        node = check.node
        if node.never:
            check.die(self.chain, Broken("false schema", "nothing at this place", kind))
        elif node.kinds is not None and kind not in node.kinds:
            check.die(self.chain, Broken("type", " or ".join(node.type), kind))
        elif node.members is not None and kind not in node.member_kinds:
            check.die(self.chain, Broken(node.members_keyword, node.shown_members, kind))

    def key(self, name: str) -> None:
        """A name is whole."""
        self._slot = name
        place = self._places[-1]
        if not place.checks:
            return
        place.wants = []
        place.names.add(name)
        for check in place.alive():
            self._key(check, place, name)

    def _key(self, check: Check, place: Place, name: str) -> None:
        node = check.node
        nodes = node.of_name(name)
        if not nodes and node.unevaluated_properties is not None:
            place.wants.append((node.unevaluated_properties, check, LOOSE))
        for each in nodes:
            if each is node.additional and each.never:
                allowed = list(map(shown, node.properties))
                names = ", ".join(allowed[:_FEW]) + ", …" * (len(allowed) > _FEW)
                expected = f"no names but {names}" if allowed else "no names"
                check.die(self.chain, Broken("additionalProperties", expected, shown(name)))
            elif each is not ALWAYS:
                place.wants.append((each, check, MUST))
        if node.max_properties is not None and len(place.names) > node.max_properties:
            check.die(self.chain, Broken("maxProperties", f"at most {node.max_properties} names", "one more"))
        if node.property_names is not None:
            wrong = _wrong_text(node.property_names, name)
            if wrong is not None:
                check.die(self.chain, Broken("propertyNames", f"names that are {wrong.expected}", wrong.found))
        for role, sub, needs in check.subs:
            if role == NEEDED and needs == name:
                sub.links.append((check, MUST))
                if sub.death is not None:
                    check.die(*sub.death)

    def text(self, piece: str) -> None:
        """More of a string came."""
        place = self._places[-1]
        if not place.readers:
            return
        before, text = place.length, place.text
        place.length += len(piece)
        if len(text) <= place.longest:
            place.text += piece[: place.longest + 1]
        for check in place.readers:
            if check.death is not None:
                continue
            node = check.node
            if node.max_length is not None and place.length > node.max_length:
                self.into = max(self.into, int(node.max_length) - before)
                check.die(self.chain, Broken("maxLength", f"at most {node.max_length} characters", "a longer string"))
            if node.members is not None and not _begins_one(place.text, node):
                right = next(n for n in range(len(piece)) if not _begins_one(text + piece[: n + 1], node))
                self.into = max(self.into, right)
                found = f"a string that begins with {shown(text + piece[: right + 1])}"
                check.die(self.chain, Broken(node.members_keyword, node.shown_members, found))
        self.into = 0

    def end(self, value: Any) -> None:
        """The value that began last is whole."""
        place = self._places[-1]
        for check in place.checks.values():
            self._finish(check, value)
        self._places.pop()
        if not self._places:
            return
        for check in place.checks.values():
            if check.death is None:
                for parent, role in check.links:
                    if role == CONTAINS and parent is not None:
                        self._contained(parent, place.chain[1])
            # Their circles would be work for the garbage collector, for each value.
            check.links = []
            check.subs = ()
        outer = self._places[-1]
        if outer.kind == "array":
            for check in outer.alive():
                if check.node.unique:
                    self._unique(check, value)

    def _contained(self, check: Check, index: Any) -> None:
        check.matched.add(index)
        most = check.node.max_contains
        if most is not None and len(check.matched) > most:
            check.die(self.chain, Broken("maxContains", f"at most {most} items of its kind", "one more"))

    def _unique(self, check: Check, value: Any) -> None:
        key = canonical(value)
        if key in check.seen:
            check.die(self.chain, Broken("uniqueItems", "items that differ", f"{shown(value)} twice"))
        check.seen.add(key)

    def _finish(self, check: Check, value: Any) -> None:
        """Judge what only the whole value shows; first the checks that this one rests on."""
        if check.done:
            return
        check.done = True
        for _, sub, _ in check.subs:
            self._finish(sub, value)
        if check.death is not None:
            return
        broken = verdict(check, value)
        if broken is not None:
            check.die(self.chain, broken)
        elif check.node.if_ is not None:
            condition = check.sub(IF)
            taken = check.sub(THEN if condition is not None and condition.death is None else ELSE)
            if taken is not None and taken.death is not None:
                check.die(*taken.death)


def want(place: Place, node: Node, parent: Check | None, role: int) -> Check:
    """The check of *node* in *place*, made if it is the first to be asked for, with all that it applies there."""
    check = place.checks.get(node)
    if check is None:
        check = place.checks[node] = Check(node)
        if node.in_place:
            wanted = [(MUST, each, "") for each in node.all_of]
            wanted += [(ANY, each, "") for each in node.any_of]
            wanted += [(ONE, each, "") for each in node.one_of]
            single = ((NOT, node.not_), (IF, node.if_), (THEN, node.then_), (ELSE, node.else_))
            wanted += [(its, each, "") for its, each in single if each is not None]
            wanted += [(NEEDED, each, name) for name, each in node.dependent_schemas.items()]
            check.subs = [(its, want(place, each, check, its), name) for its, each, name in wanted]
    check.links.append((parent, role))
    return check


def _begins_one(text: str, node: Node) -> bool:
    return any(each.startswith(text) for each in node.strings)


def _wrong_text(node: Node, text: str) -> Broken | None:
    """What a name breaks of a schema."""
    judge = Judge(node)
    try:
        judge.start("string")
        judge.text(text)
        judge.end(text)
    except Violated as violated:
        return violated.broken
    return None
