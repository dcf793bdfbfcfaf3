"""Curation: NeMo-Curator pipelines from WARC files to a corpus and the ledger of what left it."""
