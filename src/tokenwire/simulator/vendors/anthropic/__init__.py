"""Anthropic's API, as the simulator serves it: ``messages`` has the routes."""
