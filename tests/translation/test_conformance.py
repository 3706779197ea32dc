"""conformance/DIALECT.json holds what the decoders make of the recorded answers, at every chunking.

With ``TOKENWIRE_WRITE_TRANSLATION=1`` in the environment the files are written anew.
"""

from __future__ import annotations

import json
import os
from typing import Any

import jsonschema
import pytest
from tests.translation import conformance
from tests.translation.conformance import FOLDER, NAMES, document, projection, wire_of

VALIDATOR = jsonschema.Draft202012Validator(json.loads((FOLDER / "native.schema.json").read_text("utf-8")))


def load(dialect: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{dialect}.json").read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("dialect", NAMES)
def test_the_file_holds_what_the_decoder_makes(dialect: str) -> None:
    made = document(dialect)
    path = FOLDER / f"{dialect}.json"
    if os.environ.get("TOKENWIRE_WRITE_TRANSLATION"):
        path.write_bytes(made)
    assert json.loads(path.read_bytes()) == json.loads(made), "write it anew: see the docstring of this file"


@pytest.mark.untraced
@pytest.mark.parametrize("dialect", NAMES)
def test_every_case_holds_however_its_bytes_are_cut(dialect: str) -> None:
    for case in load(dialect)["cases"]:
        wire = wire_of(case)
        for size in (1, 7, 50):
            chunks = [wire[at : at + size] for at in range(0, len(wire), size)]
            assert projection(dialect, chunks) == case["native"], case["name"]


@pytest.mark.untraced
@pytest.mark.parametrize("dialect", NAMES)
def test_every_native_event_keeps_to_the_schema(dialect: str) -> None:
    for case in load(dialect)["cases"]:
        for name, data in case["native"]:
            VALIDATOR.validate({"event": name, "data": data})


def test_bytes_that_are_no_text_are_kept_in_base64() -> None:
    case = conformance._case("x", b'data: {"a": "\xff"}\n\n', "openai.chat")
    assert "wire" not in case
    assert wire_of(case) == b'data: {"a": "\xff"}\n\n'
