"""What docs/sdk-matrix.md says to write, run: each example prints the answer that the relay's upstream gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import programs
from tests.clients.matrix.page import POINTING
from tests.clients.nodes import SCRIPTS

from tokenwire import dialects
from tokenwire.simulator.texts import pick
from tokenwire.testing.processes import Running, running_relay

pytestmark = pytest.mark.slow

CONFIG = """
[upstreams.openai]
base_url = "{simulator}/v1"
models = []
[upstreams.anthropic]
dialect = "anthropic"
base_url = "{simulator}"
models = []
[models."anthropic/claude-sonnet-4-6"]
route = ["anthropic/instant"]
[models."openai/gpt-4o"]
route = ["openai/instant"]
"""
EXAMPLES = re.findall(r"```(python|js)\n(.*?)```", POINTING.read_text("utf-8"), re.DOTALL)
#: A word of an example -> the dialects that it speaks.
SPOKEN = {
    "responses.create": "openai.responses", "google": "gemini", "ollama": "ollama",
    "api/chat": "ui-messages", "agui": "agui",
}  # fmt: skip
ANSWER = pick("Hello").body


@pytest.fixture(scope="module")
def relay(simulator: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_relay(CONFIG.format(simulator=simulator.url), tmp_path_factory.mktemp("pointing")) as running:
        yield running


@pytest.mark.parametrize(("language", "example"), EXAMPLES, ids=[text.split("\n")[0] for _, text in EXAMPLES])
def test_the_examples_work(relay: Running, tmp_path: Path, language: str, example: str) -> None:
    assert {dialect for word, dialect in SPOKEN.items() if word in example} <= set(dialects.names())
    code = example.replace("http://127.0.0.1:8787", relay.url)
    if language == "python":
        command = [sys.executable, "-c", code]
        answers = 4 if "for model in models" in code else code.count("print(")
    else:
        # Both ask through the client's own doors; a component is what the text leaves to the reader.
        code = code.replace("from 'ai'", "from 'ai7'")
        if "useChat" in code:
            code += _READING
        command = [programs.node(), "--input-type=module", "--eval", code]
        answers = max(1, code.count("process.stdout.write"))
    done = subprocess.run(command, cwd=SCRIPTS if language == "js" else tmp_path, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.decode()) == (0, ANSWER * answers), done.stderr.decode()


#: What `useChat` does with the transport.
_READING = f"""
const messages = {json.dumps([{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}])};
const stream = await transport.sendMessages({{ trigger: 'submit-message', chatId: 'c1', messages }});
for await (const part of stream) if (part.type === 'text-delta') process.stdout.write(part.delta);
"""
