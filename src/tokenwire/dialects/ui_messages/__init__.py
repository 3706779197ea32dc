"""The AI SDK's UI message stream, for clients only: ``dialect`` is the record, the other files its work."""
