"""Trains GLiDE's SentencePiece tokenizer and proves that its Hugging Face form is the same one."""
