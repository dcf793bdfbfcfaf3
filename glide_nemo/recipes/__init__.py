"""The training recipes: one function each, taking a size and returning the whole Megatron-Bridge config."""
