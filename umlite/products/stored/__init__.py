"""One file that keeps a result: written, and read again."""
