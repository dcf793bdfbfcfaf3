"""What GLiDE is: its shape in numbers, Megatron-Core's GPTModel built from them, and the bridge to Hugging Face."""
