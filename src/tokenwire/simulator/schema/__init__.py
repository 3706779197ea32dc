"""JSON values for any JSON Schema: what a model's structured output and tool arguments are made of.

``value_for(schema, seed, hints)`` builds a value top down and, wherever a schema says more than can be built
straight away (``not``, ``oneOf``, ``if``), builds several and keeps one that passes ``matches``. Work is
bounded: a schema that would need more than ``make.MAX_NODES`` nodes, or that nothing satisfies, raises
``UnsatisfiableError``.
"""

from __future__ import annotations

from tokenwire.simulator.schema.check import SchemaError, UnsatisfiableError, matches
from tokenwire.simulator.schema.make import value_for
from tokenwire.simulator.schema.strings import Hints

__all__ = ["Hints", "SchemaError", "UnsatisfiableError", "matches", "value_for"]
