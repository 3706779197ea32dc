"""Gemini's generateContent API, as the simulator serves it: `generate` has the routes."""
