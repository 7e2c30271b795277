"""Files are written all or none, and none is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.setup.drafting import placed
from skillopt.setup.tasks import SetupError


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_files_stay_if_all_goes_well(tmp_path: Path) -> None:
    with placed({tmp_path / "a/b/c.txt": "c", tmp_path / "d.yaml": "d"}):
        assert (tmp_path / "a/b/c.txt").read_text() == "c"
    assert names(tmp_path) == ["a", "a/b", "a/b/c.txt", "d.yaml"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_stays_if_the_block_raises(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("mine")
    with pytest.raises(error), placed({tmp_path / "a/b/c.txt": "c", tmp_path / "d.yaml": "d"}):
        raise error
    assert names(tmp_path) == ["a", "a/mine"]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_in_the_way_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    there = tmp_path / "d.yaml"
    match kind:
        case "file":
            there.write_text("mine")
        case "folder":
            there.mkdir()
        case "link":
            there.symlink_to("nowhere")
    before = (names(tmp_path), there.lstat())
    with (
        pytest.raises(SetupError, match=r"d\.yaml: is there already and is not touched"),
        placed({tmp_path / "a/c.txt": "c", there: "d"}),
    ):
        pytest.fail("nothing is done then")
    assert (names(tmp_path), there.lstat()) == before


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OSError), placed({tmp_path / "b.txt": "b", tmp_path / "a/c.txt": "c"}):
        pytest.fail("nothing is done then")
    assert names(tmp_path) == ["a"]
