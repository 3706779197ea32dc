"""Who the simulator can pretend to be: a module for each vendor's API, each a function from a route to its handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.simulator.vendors.openai_chat import route as openai_chat_route

if TYPE_CHECKING:
    from tokenwire.simulator.exchange import Vendor

#: Asked in this order; the first that knows the route answers.
VENDORS: tuple[Vendor, ...] = (openai_chat_route,)
