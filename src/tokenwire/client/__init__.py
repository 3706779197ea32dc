"""The Python client: start a stream, follow it, resume it, fold it. ::

    async with Client("http://127.0.0.1:8787") as client:
        stream = await client.start({"model": "sim/gpt-4o", "messages": [{"role": "user", "content": "hi"}]})
        async with client.follow(stream) as following:
            async for update in following:
                if isinstance(update, TextDelta):
                    print(update.text, end="")
        print(following.answer.usage)

To start and to follow are two things: a connection that drops costs nothing, for the same stream is followed on, from
the event after the last one that came. Each event is delivered once, and in order.
"""

from tokenwire.client.answer import Answer
from tokenwire.client.backoff import Retry
from tokenwire.client.following import Following
from tokenwire.client.relay import Client
from tokenwire.client.updates import Done, Dropped, Notice, Reset, Resumed, Update

__all__ = ["Answer", "Client", "Done", "Dropped", "Following", "Notice", "Reset", "Resumed", "Retry", "Update"]
