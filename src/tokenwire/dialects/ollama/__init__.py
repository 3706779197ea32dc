"""Ollama's own dialect, NDJSON of ``POST /api/chat``: ``dialect`` has the record."""
