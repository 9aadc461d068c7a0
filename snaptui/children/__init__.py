"""The commands that the app runs as child processes: they can run through sudo, and share no interpreter."""
