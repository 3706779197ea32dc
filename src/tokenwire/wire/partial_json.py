"""JSON that comes in pieces: a push parser, linear in the text, of RFC 8259 to the letter.

What a value may look like before it is whole, and why it never changes its type:

- an object is a dict from its ``{`` on, an array a list from its ``[`` on, a string a str from its first quote on. They
  stand in their parent at once, and grow;
- a number, ``true``, ``false`` and ``null`` appear when they are over, and not before. ``-`` and ``1e`` are no numbers,
  ``12`` may yet be ``125`` or ``12.5``, an int that becomes a float; and a reader who is shown 1, 12 and 125 was told
  two untruths. A number is over when another character follows, at the top level perhaps only with `close`;
- a name appears with its value. If a name is given twice the last one counts, as in `json.loads`: the one case in which
  a value is replaced.

How it stays linear. A step reads as far as a regular expression goes, not character by character; what was read is not
looked at again, but for up to five characters of a cut escape. Each container is made once and filled in place. Of a
growing string the new pieces are kept, and joined when somebody asks for the value.

Not covered: NaN, Infinity, comments and trailing commas, which are no JSON. A byte order mark is an error, as for
`json.loads`. A lone surrogate, however it was written, becomes U+FFFD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.errors import IncompleteJson, LocalProtocolError, SchemaViolation
from tokenwire.wire.json_check import Violated
from tokenwire.wire.json_events import Chain, PathEvent, path_of, pointer_of
from tokenwire.wire.json_grammar import STEPS, Grammar
from tokenwire.wire.json_reading import NUMBER, OVER, STRING
from tokenwire.wire.json_scan import after, may_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.wire.json_schema import JsonSchema

# Twice what serde_json allows, a quarter of where the standard library's encoder and repr() give up; models write a
# dozen.
MAX_DEPTH: Final = 256
# As much as an upstream's stream may hold in memory. Twice the bound is twice what a model can make us hold.
MAX_SIZE: Final = 16 * 1024 * 1024


class PartialJson(Grammar):
    """One JSON text, in pieces -> its value as it grows, and what happened where.

    Not for several threads at once. After an error every later call raises it again; what came before it can still be
    seen with `value`.

    Args:
        schema: judge the text by it while it comes: a `SchemaViolation` is raised at the first token that proves it.
        max_depth: deepest nesting of arrays and objects.
        max_size: longest text, in characters.
    """

    __slots__ = ("_closed", "_max_size")

    def __init__(
        self, *, schema: JsonSchema | None = None, max_depth: int = MAX_DEPTH, max_size: int = MAX_SIZE
    ) -> None:
        super().__init__(None if schema is None else schema.judge(), max_depth)
        self._max_size = max_size
        self._closed = False

    @property
    def complete(self) -> bool:
        """Whether the value is whole. (A number at the top level is so with what follows it, or `close`.)"""
        return self._state == OVER

    @property
    def open_string(self) -> bool:
        """Whether the text stands within a string that is a value."""
        return self._state == STRING

    @property
    def offset(self) -> int:
        """Characters taken so far."""
        return self._offset + len(self._held)

    def feed(self, text: str) -> Sequence[PathEvent]:
        """Take the next piece. Returns what it brought, in order; a new list, as long as the piece has tokens.

        Raises:
            InvalidJson: at the first character that cannot be right.
            SchemaViolation: at the first token that the schema cannot allow.
        """
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise LocalProtocolError("feed() after close()")
        if self._held:
            text = self._held + text
            self._held = ""
        end = len(text)
        if self._offset + end > self._max_size:
            raise self._wrong(text, 0, f"the text is longer than {self._max_size} characters", blame=False)
        events: list[PathEvent] = []
        self._events = events
        position = 0
        try:
            while position < end:
                position = STEPS[self._state](self, text, position)
        except Violated as violated:
            raise self._violation(text, violated) from None
        if "\n" in text:
            self._line += text.count("\n")
            self._line_start = self._offset + text.rfind("\n") + 1
        self._offset += end - len(self._held)  # what is held will come before the next piece
        return events

    def close(self) -> Sequence[PathEvent]:
        """The text is over. Returns what only its end makes certain: a number at the top level. May be called again.

        Raises:
            IncompleteJson: the value is not.
            SchemaViolation: the number is not allowed.
        """
        if self._failure is not None:
            raise self._failure
        events: list[PathEvent] = []
        self._events = events
        if self._state == NUMBER and not self._stack and may_end(self._row):
            try:
                self._number_done("", 0)
            except Violated as violated:
                raise self._violation("", violated) from None
        if self._state != OVER:
            where = pointer_of(path_of(self._inside()))
            problem = f"the text ended inside {where or 'the value'}" if self._root else "the text ended before a value"
            line, column = self._line, self.offset - self._line_start + 1
            self._failure = IncompleteJson(problem, offset=self.offset, line=line, column=column)
            raise self._failure
        self._closed = True
        return events

    def value(self, default: Any = None) -> Any:
        """The value as far as it came; *default* while there is none.

        The containers are the parser's own and grow with each `feed`: look at them, keep them if you like, do not
        change them; `snapshot` gives one that stays. Costs what the open string grew by since the last call, as long as
        nobody keeps the shorter string; else its length.
        """
        if self._parts and self._state == STRING:
            self._show()
        return self._root[0] if self._root else default

    def snapshot(self, default: Any = None) -> Any:
        """As `value`, and not touched by what follows.

        Costs the width of the containers that are open. The finished ones are shared with the parser, which does not
        change them any more.
        """
        value = self.value(default)
        if not self._stack:
            return value
        twin = self._container.copy()
        chain = self._chain
        for container, outer in reversed(self._stack[1:]):
            assert chain is not None
            copied = container.copy()
            copied[chain[1]] = twin
            twin, chain = copied, outer
        return twin

    def _inside(self) -> Chain:
        """What is open."""
        return self._here if self._state == STRING else self._chain or ()

    def _violation(self, text: str, violated: Violated) -> SchemaViolation:
        into = 0 if self._judge is None else self._judge.into
        offset, line, column = self._place(text, after(text, self._at, into))
        path, broken = path_of(violated.chain), violated.broken
        self._failure = SchemaViolation(
            path, pointer_of(path), broken.keyword, broken.expected, broken.found,
            offset=offset, line=line, column=column,
        )  # fmt: skip
        return self._failure
