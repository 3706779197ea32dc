"""Short ways to ask in one dialect, and to see what an upstream of another is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tokenwire import dialects
from tokenwire.dialects.prompt.fit import Note, translate
from tokenwire.dialects.prompt.vocabulary import Prompt
from tokenwire.dialects.request_body import GenerateRequest


def _request(fields: Any) -> GenerateRequest:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    try:
        members = msgspec.json.decode(body, type=dict[str, Raw])
    except ValueError:  # half a character in it
        members = {name: Raw(json.dumps(value).encode()) for name, value in json.loads(body).items()}
    return GenerateRequest("caller/model", True, True, members)


@pytest.fixture
def read() -> Callable[..., Prompt]:
    """The prompt of a request in a dialect: of bytes, or of a JSON value."""
    return lambda dialect, fields: dialects.prompts(dialect).read(_request(fields))


@pytest.fixture
def write() -> Callable[..., dict[str, Any]]:
    """What a prompt is in a dialect."""

    def run(dialect: str, prompt: Prompt, model: str = "m", stream: bool = True) -> dict[str, Any]:
        found = dialects.prompts(dialect).write
        assert found is not None
        body: dict[str, Any] = json.loads(found(prompt, model, stream))
        return body

    return run


@pytest.fixture
def across() -> Callable[..., tuple[dict[str, Any], list[Note]]]:
    """What a request in one dialect is in another, and the notes on it."""

    def run(source: str, target: str, fields: Any, model: str = "m") -> tuple[dict[str, Any], list[Note]]:
        done = translate(_request(fields), dialects.prompts(source), dialects.prompts(target), target, model)
        return json.loads(done.body), done.notes

    return run
