"""Ollama's ``POST /api/generate``: one prompt instead of messages. ``ollama`` does the work."""
