"""The manual pages and the completion scripts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from snaptui.cli import COMMANDS, program_parser
from tests.helpers.commands import REPOSITORY, environment, snaptui_command

MAN = REPOSITORY / "man"
PAGES = ("snap.1", "snapfs.1", "snaptui.1", "snap.5")


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="argparse words usage in its own way in each version"
)
def test_the_pages_are_made_from_the_parsers_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("argparse_manpage")
    subprocess.run(
        [sys.executable, REPOSITORY / "docs/manual.py", tmp_path], check=True, env=environment(), cwd=tmp_path
    )
    for name in ("snap.1", "snapfs.1", "snaptui.1"):
        assert (MAN / name).read_text() == (tmp_path / name).read_text(), f"{name} is old: run `make man`"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_every_option(name: str) -> None:
    if name == "snap.5":
        return
    page = (MAN / name).read_text().replace("\\-", "-")
    for action in program_parser(name.removesuffix(".1"))._actions:
        for option in action.option_strings:
            if option not in ("-h", "--help"):
                assert f"\\fB{option}\\fR" in page, option


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff (groff-base)")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_say_against_a_page(name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", MAN / name], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_sections(name: str) -> None:
    page = (MAN / name).read_text()
    for section in ("NAME", "DESCRIPTION", "SEE ALSO", "BUGS"):
        assert f"\n.SH {section}\n" in page


@pytest.mark.parametrize("program", ["snap", "snapfs", "snaptui"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_a_script_that_the_shell_reads(shell: str, program: str) -> None:
    script = snaptui_command("completion", shell, "--program", program).expect(0).out
    assert program.encode() in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_commands_options_and_files(tmp_path: Path) -> None:
    """Given the script, when TAB is pressed, then bash offers commands, their options, and files."""
    (tmp_path / "completion").write_bytes(snaptui_command("completion", "bash").expect(0).out)
    (tmp_path / "page.snap").touch()

    def offers(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in words)
        code = (
            f"source ./completion; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1};"
            'function=$(complete -p snaptui | sed "s/.*-F \\([^ ]*\\).*/\\1/"); $function;'
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        out = subprocess.run(
            ["bash", "--norc", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        return set(out.split())

    assert offers("snaptui", "") >= {command.name for command in COMMANDS}
    assert offers("snaptui", "hex") == {"hexdump"}
    assert "--thread" in offers("snaptui", "regs", "--")
    assert "page.snap" in offers("snaptui", "info", "pa")
