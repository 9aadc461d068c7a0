"""What draws: given values, posting requests. Truth is in the engine."""
