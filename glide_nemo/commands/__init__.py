"""What each subcommand of `glide` does: reads its settings and inputs, and calls the step, imported only then."""
