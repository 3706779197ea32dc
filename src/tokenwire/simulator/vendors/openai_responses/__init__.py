"""OpenAI's Responses, as the simulator serves them: `responses` has the routes."""
