"""The comparison of partial JSON measures what it says."""

from __future__ import annotations

import json

import pytest
from bench.session import Session
from bench.toolchain import Programs

from bench import partial

TEXT = partial.document(300)
PIECES = [TEXT[i : i + 4] for i in range(0, len(TEXT), 4)]


def test_a_document_has_its_size_and_is_the_same_each_time() -> None:
    assert 300 <= len(TEXT) < 700
    assert partial.document(300) == TEXT
    assert json.loads(TEXT)["items"][0]["ok"] is True


@pytest.mark.parametrize("name", partial.OURS)
def test_ours_take_the_whole_document(name: str) -> None:
    partial.OURS[name](PIECES)
    with pytest.raises(Exception, match="the text ended"):
        partial.OURS[name](PIECES[:-1])


def test_jiter_gives_the_value_so_far_from_the_middle_on() -> None:
    add = partial.PEERS["jiter: the text so far, again"]('{"items": [1')
    assert add("2, ") == {"items": [12]}
    assert add('"a') == {"items": [12, "a"]}


def test_costs_are_counted_or_projected_as_the_cell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "SIZES", {"small": 300, "large": 900})
    monkeypatch.setattr(partial, "PEERS", {"jiter": partial.PEERS["jiter: the text so far, again"]})
    monkeypatch.setattr(partial, "_WHOLE", len(partial.document(300)) // 4 + 1)
    section = partial.run(Session(programs=Programs.__new__(Programs), relays=[], rounds=1))
    assert [row[0] for row in section.rows] == [*partial.OURS, "jiter"]
    assert ["≈" in cell for cell in section.rows[-1][1:]] == [False, True]
    assert not any("≈" in cell for row in section.rows[:-1] for cell in row)
    json.dumps(section.data, allow_nan=False)
