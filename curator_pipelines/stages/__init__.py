"""One NeMo-Curator ProcessingStage a file."""
