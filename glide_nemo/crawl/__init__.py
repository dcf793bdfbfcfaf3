"""Real input: Python's own documentation site recorded as WARC, or WARC files from elsewhere."""
