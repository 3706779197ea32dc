"""The server: HTTP words in, engine calls out."""
