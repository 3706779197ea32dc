"""tokenwire's own dialect: ``dialect`` is the record, the other files its work."""
