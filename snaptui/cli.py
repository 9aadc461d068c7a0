"""The command line: the registry of commands, their parsers, and what becomes of errors.

A command is a module with `NAME`, a docstring (its help), `prepare_parser(parser)` and
`run(arguments)`, which returns the exit status; `PARENTS`, if it is there, names the shared
options. Only the module of the command that is run gets imported, so that `snap --help` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple, NoReturn

from snaptui import __version__
from snaptui.explain import EXIT_USAGE, explain


class Command(NamedTuple):
    """A command's name and its line in the list; the module is imported only to be run."""

    name: str
    summary: str

    @property
    def module(self) -> str:
        """The full name of the module that implements the command."""
        return f"snaptui.commands.{self.name}"

    def load(self) -> ModuleType:
        """Import the command."""
        return importlib.import_module(self.module)


# The summaries stand here as well as in the modules, so that the list needs no imports; a test compares them.
COMMANDS: Final = (
    Command("app", "start the terminal application; so does snaptui alone, or with FILE..."),
    Command("snap", "save live processes into one snapshot file"),
    Command("fs", "serve snapshots as a /proc tree (as snapfs does)"),
    Command("mounts", "list the running snapfs servers"),
    Command("umount", "end snapfs servers, and unmount what they had mounted"),
    Command("psu", "list the processes of this machine"),
    Command("info", "say what is in a snapshot"),
    Command("why", "say why saved processes hang: deadlocks, and what each thread waits for"),
    Command("diff", "compare two snapshots of the same processes: do they hang, or are they slow?"),
    Command("stack", "show where every thread of a saved process was, function by function"),
    Command("segments", "list the memory of a saved process"),
    Command("hexdump", "show the memory of a saved process in hexadecimal"),
    Command("search", "find text, bytes or pointers in the memory of saved processes"),
    Command("strings", "print the texts in the memory of saved processes"),
    Command("regs", "show the registers of a saved process"),
    Command("cat", "write one /proc file of a saved process to standard output"),
    Command("gdb", "start gdb on a saved process"),
    Command("lldb", "start lldb on a saved process"),
    Command("core", "write an ELF core of a saved process"),
    Command("sysroot", "extract the executable and the libraries of a saved process"),
    Command("verify", "read a whole snapshot and say what is missing or damaged"),
    Command("copy", "write a snapshot anew, or some of its processes"),
    Command("compress", "compress a snapshot so that it can still be read at random"),
    Command("decompress", "unpack a compressed snapshot"),
    Command("completion", "print a completion script for the shell"),
)
_PROGRAMS: Final = {"snap": "snap", "snapfs": "fs"}
_BY_NAME: Final = {command.name: command for command in COMMANDS}


def command_parser(command: Command, prog: str) -> argparse.ArgumentParser:
    """The parser of one command that is a program of its own, as `snap` and `snapfs` are."""
    module = command.load()
    parser = argparse.ArgumentParser(prog=prog, **_options(module))
    _add_version(parser)
    _prepare(parser, module)
    return parser


def snaptui_parser(*, complete: bool = True) -> argparse.ArgumentParser:
    """The parser of `snaptui`: with all commands complete, or with their names alone (no imports)."""
    parser = argparse.ArgumentParser(
        prog="snaptui",
        description=(
            "Save live Linux processes, whole, into one snap(6) file, and look inside it: memory,\n"
            "the registers of every thread, and where each of them hangs."
        ),
        formatter_class=_formatter(),
    )
    _add_version(parser)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        if not complete:
            subparsers.add_parser(command.name, help=command.summary)
            continue
        module = command.load()
        subparser = subparsers.add_parser(command.name, help=command.summary, **_options(module))
        _prepare(subparser, module)
    return parser


def program_parser(program: str) -> argparse.ArgumentParser:
    """The complete parser of `snap`, `snapfs` or `snaptui`, for completion and manual pages."""
    if program == "snaptui":
        return snaptui_parser()
    return command_parser(_BY_NAME[_PROGRAMS[program]], program)


def _options(module: ModuleType) -> dict[str, Any]:
    return {
        "description": inspect.getdoc(module),
        "formatter_class": _formatter(),
        "parents": getattr(module, "PARENTS", ()),
    }


def _prepare(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    module.prepare_parser(parser)
    parser.set_defaults(run=module.run, parser=parser)


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"snaptui {__version__}")


def _formatter() -> type[argparse.HelpFormatter]:
    # Colours cost the import of rich (60 ms): only for the one who reads help on a terminal.
    if sys.stdout is not None and sys.stdout.isatty() and {"-h", "--help"} & set(sys.argv[1:]):
        from rich_argparse import RawDescriptionRichHelpFormatter

        # A `[` or a backquote in a help text is text.
        RawDescriptionRichHelpFormatter.usage_markup = False
        RawDescriptionRichHelpFormatter.help_markup = False
        RawDescriptionRichHelpFormatter.text_markup = False
        return RawDescriptionRichHelpFormatter
    return argparse.RawDescriptionHelpFormatter


def main(program: str) -> NoReturn:
    """Run `snap`, `snapfs` or `snaptui` with the arguments of this process, and end it."""
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # Names of files and processes are bytes: what the terminal can't show is escaped.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    status = _guard(program, lambda: _run(program))
    # The interpreter would flush at its end too, but report a failure with a traceback.
    status = _guard(program, lambda: _flush(status))
    # What is left is for the kernel to take back: to look for garbage in it takes a tenth of a short run.
    gc.freeze()
    sys.exit(status)


def _run(program: str) -> int:
    argv = sys.argv[1:]
    arguments = _parse_snaptui(argv) if program == "snaptui" else _parse(program_parser(program), argv)
    with _raised_interrupts():
        status: int = arguments.run(arguments)
    return status


@contextlib.contextmanager
def _raised_interrupts() -> Iterator[None]:
    """Have ^C raise KeyboardInterrupt within the block, where it would end us without a word (start.py)."""
    ends_us = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ends_us:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ends_us:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _parse_snaptui(argv: Sequence[str]) -> argparse.Namespace:
    if not argv and not _has_terminal():
        snaptui_parser(complete=False).print_help(sys.stderr)
        print("\nsnaptui: alone it is the application, which needs a terminal", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)
    if argv and argv[0] in _BY_NAME:
        return _parse(command_parser(_BY_NAME[argv[0]], f"snaptui {argv[0]}"), argv[1:])
    if not argv or _is_for_the_app(argv[0]):
        return _parse(command_parser(_BY_NAME["app"], "snaptui"), argv)
    return snaptui_parser(complete=False).parse_args(argv)  # --help, --version, or a mistake


def _is_for_the_app(word: str) -> bool:
    """Whether it is a file, or meant as one though it is not there; or an option of the app's."""
    return os.path.isfile(word) or os.sep in word or word.endswith((".snap", ".zst")) or word == "--no-mouse"


def _has_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The arguments, options also between the others: `copy FILE -o OUT PID`."""
    # Intermixed parsing forgets that what follows `--` may begin with a -, and its help lacks
    # the beginning of the usage when rich has drawn it.
    if not {"--", "-h", "--help"} & set(words):
        try:
            return parser.parse_intermixed_args(words)
        except TypeError:
            pass  # not for parsers with an argument in a group that excludes (psu's USER or --all)
    return parser.parse_args(words)


def _fill_closed_streams() -> None:
    """Have nothing that we open become descriptor 0, 1 or 2: a message would be written into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    if sys.stderr is None:  # print(file=None) would write to standard output
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - it stays open to the end


def _flush(status: int) -> int:
    if sys.stdout is not None:
        sys.stdout.flush()
    return status


def _guard(prog: str, work: Callable[[], int]) -> int:
    """Run `work`; an error becomes a line on standard error and an exit status, never a traceback."""
    try:
        return work()
    except SystemExit as stop:  # argparse's: help, --version (0) and usage (2)
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    except BaseException as error:
        if os.environ.get("SNAPTUI_DEBUG") == "1":
            raise
        if isinstance(error, OSError):
            _abandon_stdout()
        return report(prog, error)


def report(prog: str, error: BaseException) -> int:
    """Say on standard error what went wrong; returns the exit status."""
    words = explain(error)
    if words.message:
        print(f"{prog}: {words.message}", file=sys.stderr)
    if words.help:
        print(f"  {words.help}", file=sys.stderr)
    return words.status


def _abandon_stdout() -> None:
    # What is still buffered can't be written (closed pipe, full disk): it would fail again at exit.
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
