"""Looking inside a snapshot."""
