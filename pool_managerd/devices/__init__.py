"""What GPUs there are, and what fits where."""
