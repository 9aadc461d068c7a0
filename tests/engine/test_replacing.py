"""A complete file takes the name of an older one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from snaptui.engine.replacing import replace


def test_new_file_takes_the_name_and_the_older_one_goes(tmp_path: Path) -> None:
    draft, target = tmp_path / ".draft", tmp_path / "page.snap"
    draft.write_text("new")
    target.write_text("old")
    replace(str(draft), str(target))
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["page.snap"]


def test_name_that_is_free(tmp_path: Path) -> None:
    draft, target = tmp_path / ".draft", tmp_path / "page.snap"
    draft.write_text("new")
    replace(str(draft), str(target))
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["page.snap"]


def test_other_names_of_the_older_file_keep_it(tmp_path: Path) -> None:
    draft, target, link = tmp_path / ".draft", tmp_path / "page.snap", tmp_path / "link"
    draft.write_text("new")
    target.write_text("old")
    os.link(target, link)
    replace(str(draft), str(target))
    assert (target.read_text(), link.read_text()) == ("new", "old")


def test_directory_is_not_replaced(tmp_path: Path) -> None:
    draft, target = tmp_path / ".draft", tmp_path / "page.snap"
    draft.write_text("new")
    target.mkdir()
    with pytest.raises(IsADirectoryError):
        replace(str(draft), str(target))
    assert sorted(os.listdir(tmp_path)) == [".draft", "page.snap"]


def test_at_every_moment_a_whole_file_has_the_name(tmp_path: Path) -> None:
    target = tmp_path / "page.snap"
    target.write_text("0" * 1000)
    end = threading.Event()
    seen: set[str] = set()

    def look() -> None:
        while not end.is_set():
            seen.add(target.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(300):
            draft = tmp_path / f".draft{number}"
            draft.write_text(str(number % 10) * 1000)
            replace(str(draft), str(target))
    finally:
        end.set()
        reader.join()
    assert len(seen) > 1
    assert all(len(content) == 1000 and len(set(content)) == 1 for content in seen)
