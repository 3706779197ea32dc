"""Anthropic's Messages: ``dialect`` is the record, the other files its work."""
