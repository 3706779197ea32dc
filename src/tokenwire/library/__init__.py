"""The Python library: what ``tokenwire.stream`` is made of. The package's root exports its names."""
