"""``python -m tokenwire.cli``."""

from tokenwire.cli import main

main()
