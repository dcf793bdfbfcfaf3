"""Document filters for NeMo-Curator that share a View of the document, by the work that published them."""
