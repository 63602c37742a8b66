"""Command-line tools: thin, the library does the work."""
