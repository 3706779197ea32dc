"""OpenAI's Responses: ``dialect`` is the record, the other files its work."""
