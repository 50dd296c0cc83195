"""What a model is shown, at any scale, and what else could change."""
