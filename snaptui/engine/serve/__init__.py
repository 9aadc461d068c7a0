"""Serving a snapshot as a tree of files: by 9P, and as a mount."""
