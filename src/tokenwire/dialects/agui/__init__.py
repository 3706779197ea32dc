"""AG-UI, for clients only: ``dialect`` is the record, the other files its work."""
