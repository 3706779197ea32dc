"""``python -m tokenwire``."""

from tokenwire.cli import main

main()
