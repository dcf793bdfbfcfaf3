"""Running a recipe: Megatron-Bridge's own pretrain() in a child process, its progress and its curves."""
