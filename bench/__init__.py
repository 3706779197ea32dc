"""The repository's own rig: the relay beside nginx and beside what every tutorial writes. See README.md."""
