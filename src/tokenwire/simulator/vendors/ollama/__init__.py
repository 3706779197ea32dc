"""Ollama's API, as the simulator serves it: ``chat`` has the routes."""
