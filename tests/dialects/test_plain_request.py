"""The plainest request in the words of a dialect. What a body must be is tested where it comes in."""

from __future__ import annotations

import json

import pytest

from tokenwire.dialects.openai_chat.request import parse_request
from tokenwire.dialects.plain.request import Question, Turn, in_words_of, parse_question
from tokenwire.errors import RequestRefused

WHOLE = Question("now", "m", "Be brief.", [Turn("user", "a"), Turn("assistant", "b"), Turn("system", "Hush.")])


def test_in_openais_words() -> None:
    body = in_words_of(WHOLE, "m")
    turns = [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("system", "Hush."), ("user", "now")]
    assert json.loads(body) == {
        "model": "m",
        "stream": True,
        "messages": [{"role": role, "content": content} for role, content in turns],
    }
    assert parse_request(body).stream


def test_a_role_is_one_that_every_dialect_knows() -> None:
    with pytest.raises(RequestRefused, match="tool"):
        parse_question(b'{"prompt":"x","messages":[{"role":"tool","content":"y"}]}')
    assert parse_question(b'{"prompt":"x","system":"s"}') == Question("x", system="s")
