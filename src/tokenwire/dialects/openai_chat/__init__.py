"""OpenAI Chat Completions and the servers compatible with it: ``dialect`` is the record, the other files its work."""
