"""The HTTP service, the command line, the workers; the only composition root."""
