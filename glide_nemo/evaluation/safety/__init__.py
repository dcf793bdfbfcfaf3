"""What a model refuses: prompts that it should and should not answer, attempts to talk it round, and a verdict."""
