"""All output items of a Responses stream, as a decoder knows them: which one an event means, what the end of one says.

Items are told apart by ``output_index``; their ids may change from event to event (reference, Q28).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import Opaque
from tokenwire.dialects.numbering import Blocks, Ids
from tokenwire.dialects.openai_responses.items import NAME, Item

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta

#: Items that are understood; what only concerns others is passed on whole.
UNDERSTOOD: Final = frozenset({"message", "reasoning", "function_call"})


class Output:
    """The items of one stream.

    Attributes:
        blocks, ids: how their blocks are numbered and their calls named.
        called: there is a call; ``refused``: a refusal; ``cut``: a call that the provider says was cut short.
    """

    __slots__ = ("_items", "_newest", "_next", "_own", "_replaced", "blocks", "called", "cut", "ids", "refused")

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._own: set[int] = set()  # the items that no copy shares
        self._replaced: list[Item] = []  # those whose output_index another has
        self._newest = 0
        self._next = 0
        self.blocks = Blocks()
        self.ids = Ids()
        self.called = False
        self.refused = False
        self.cut = False

    def copy(self) -> Output:
        twin = Output()
        twin._items = dict(self._items)
        self._own.clear()
        twin._replaced = list(self._replaced)
        twin._newest, twin._next = self._newest, self._next
        twin.blocks, twin.ids = self.blocks.copy(), self.ids.copy()
        twin.called, twin.refused, twin.cut = self.called, self.refused, self.cut
        return twin

    def of(self, event: dict[str, Any], fields: dict[str, Any], out: list[Delta], *, new: bool = False) -> Item | None:
        """The item that *event* means and *fields* describe, to be changed; None if they do not say what it is. It is
        a new one if another stands in its place, or none. *new*: the event begins an item."""
        kind = fields.get("type")
        if not isinstance(kind, str):
            return None
        index = self._index(event, fields)
        item = self._items.get(index)
        if item is not None and item.type == kind:
            name = name_of(fields)
            other = kind == "function_call" and (item.sealed or new) and name not in (None, item.name)
            if not other:
                return self._change(index)
        return self._new(index, kind, fields, out)

    def call(self, event: dict[str, Any]) -> Item | None:
        """The call whose arguments *event* has; None if its beginning was left out."""
        index = self._index(event, None)
        item = self._items.get(index)
        return self._change(index) if item is not None and item.type == "function_call" else None

    def settle(self, item: Item, fields: dict[str, Any], out: list[Delta]) -> None:
        """What an item says of itself when it is over: *fields*."""
        if item.type == "message":
            for index, part in enumerate(_parts(fields, "content")):
                self.refused = self.refused or part.get("type") == "refusal"
                item.part(index, part, self.blocks, out)
        elif item.type == "reasoning":
            for name in ("summary", "content"):
                for index, part in enumerate(_parts(fields, name)):
                    item.part(index, part, self.blocks, out)
            item.sign(fields.get("encrypted_content"), self.blocks, out)
        elif item.type == "function_call":
            item.fill("arguments", 0, fields.get("arguments"), self.blocks, out)
            status = fields.get("status")
            if status == "incomplete":  # Q32
                self.cut = item.cut = True
            elif status != "in_progress":
                item.end_call(out)

    def recount(self, output: list[Any], out: list[Delta]) -> None:
        """The whole *output*, at the end: what the events left out (Q34). An entry is one that came by its name, else
        the next that came of its type: places differ where an item was left out, and ids where they change."""
        named: dict[str, int] = {}
        following: dict[str, list[int]] = {}  # by type, the first that came last
        for index, item in sorted(self._items.items(), reverse=True):
            following.setdefault(item.type, []).append(index)
            if item.name is not None:
                named[item.name] = index
        before = {item.name for item in self._replaced}
        taken: set[int] = set()
        others: list[dict[str, Any]] = []
        for entry in output:
            if not isinstance(entry, dict):
                continue
            name = name_of(entry)
            at = named.get(name) if name is not None else None
            if at is not None and at not in taken and self._items[at].type == entry.get("type"):
                taken.add(at)
                self.settle(self._change(at), entry, out)
            elif name is None or name not in before:
                others.append(entry)
        for entry in others:
            kind = str(entry.get("type"))
            indices = following.get(kind, [])
            while indices and indices[-1] in taken:
                indices.pop()
            if indices:
                self.settle(self._change(indices.pop()), entry, out)
            elif kind not in UNDERSTOOD:
                event = {"type": "response.output_item.done", "item": entry}
                out.append(Opaque(NAME, event, "response.output_item.done"))
            elif not self._replaced:  # else it may well be one of those
                self.settle(self._new(self._next, kind, entry, out), entry, out)

    def end_calls(self, out: list[Delta]) -> None:
        """The answer is complete: calls whose end was left out are whole, if their arguments are."""
        for index in [index for index, item in self._items.items() if item.whole and not item.ended]:
            self._change(index).end_call(out)
        for place, item in enumerate(self._replaced):
            if item.whole and not item.ended:
                item = self._replaced[place] = item.copy()
                item.end_call(out)

    def flush(self, out: list[Delta]) -> None:
        """Half characters whose other half can no longer come."""
        for index in [index for index, item in self._items.items() if not item.sealed]:
            self._change(index).flush(out)

    def _new(self, index: int, kind: str, fields: dict[str, Any], out: list[Delta]) -> Item:
        if (before := self._items.get(index)) is not None:
            before = self._change(index)
            before.flush(out)
            self._replaced.append(before)
        item = self._items[index] = Item(kind, name_of(fields))
        self._own.add(index)
        self._newest = index
        self._next = max(self._next, index + 1)
        self.called = self.called or kind in ("function_call", "custom_tool_call")
        if kind == "function_call":
            name = fields.get("name")
            item.begin_call(self.ids.unique(item.name), name if isinstance(name, str) else "", self.blocks, out)
        return item

    def _change(self, index: int) -> Item:
        """The item at *index*, to be changed."""
        item = self._items[index]
        if index not in self._own:
            item = self._items[index] = item.copy()
            self._own.add(index)
        return item

    def _index(self, event: dict[str, Any], fields: dict[str, Any] | None) -> int:
        """Where the event belongs; without an index, to the newest item, or behind it if *fields* are another's."""
        index = event.get("output_index")
        if isinstance(index, int):
            return index
        newest = self._items.get(self._newest)
        if fields is None or newest is None:
            return self._newest
        name = name_of(fields)
        same = newest.type == fields.get("type") and (name is None or newest.name in (None, name))
        return self._newest if same else self._next


def name_of(item: dict[str, Any]) -> str | None:
    """By what an item may be known again: a call's ``call_id``, else its own id."""
    value = (item.get("call_id") if item.get("type") == "function_call" else None) or item.get("id")
    return value if isinstance(value, str) and value.strip() else None


def object_in(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """A member that should be an object; an empty one if it is none."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def list_in(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def whole_in(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0


def _parts(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [part if isinstance(part, dict) else {} for part in list_in(fields, name)]
