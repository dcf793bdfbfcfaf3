"""Text to tokens: what Megatron-Core's datasets read."""
