"""All clients of the matrix, in the order of its rows."""

from __future__ import annotations

from typing import Final

from tests.clients.matrix import (
    clients_anthropic,
    clients_google,
    clients_langchain,
    clients_node,
    clients_ollama,
    clients_openai,
)
from tests.clients.matrix.driver import Kind

CLIENTS: Final[tuple[Kind, ...]] = (
    *clients_openai.KINDS,
    *clients_anthropic.KINDS,
    *clients_google.KINDS,
    *clients_ollama.KINDS,
    *clients_langchain.KINDS,
    *clients_node.KINDS,
)
