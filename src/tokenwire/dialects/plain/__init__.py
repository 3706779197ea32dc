"""The plainest form of ``/api/chat``: ``dialect`` is the record, ``request`` what it is asked with."""
