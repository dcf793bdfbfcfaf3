"""Keeps the items of evaluation sets out of a corpus: which items, the index over them, and what of a text matches."""
