"""The streaming HTTP/1.1 client towards providers: built for one job, reading an endless answer at once."""
