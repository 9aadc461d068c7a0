"""Print a completion script for the shell.

For bash, and for zsh with DIR in its $fpath:

    snaptui completion bash > ~/.local/share/bash-completion/completions/snaptui
    snaptui completion zsh > DIR/_snaptui

For tcsh, source the script in ~/.tcshrc.
"""

from __future__ import annotations

import argparse

NAME = "completion"


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of completion."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    parser.add_argument(
        "--program",
        choices=("snaptui", "snap", "snapfs"),
        default="snaptui",
        help="the program to complete (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # 80 ms

    from snaptui.cli import program_parser

    print(shtab.complete(program_parser(arguments.program), shell=arguments.shell))
    return 0
