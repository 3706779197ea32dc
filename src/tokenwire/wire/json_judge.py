from __future__ import annotations
class Violated(Exception):
    pass
