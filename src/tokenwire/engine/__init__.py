"""Streams, logs, readers and policies: asyncio's loop as a clock, and no HTTP."""
