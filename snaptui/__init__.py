"""snaptui: saves live Linux processes into snap(6) files, and reads them back."""

__version__ = "0.1.0"
