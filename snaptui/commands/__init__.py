"""The commands, one module each: `NAME`, docstring (the help), `prepare_parser`, `run`, perhaps `PARENTS`."""
