"""Another project's package of the same name is noticed where this one is installed."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from skillopt.core import installation
from skillopt.core.installation import other_package, overwritten, warn


@pytest.mark.parametrize(
    ("names", "version"),
    [
        ([], ""),
        (["skillopt_harness-1.0.dist-info", "skillopt"], ""),
        (["skillopt-0.2.0.dist-info"], "0.2.0"),
        (["skillopt-0.3.egg-info", "skillopt_harness-1.0.dist-info"], "0.3"),
        (["skillopt-0.2.0.txt", "skillopt-dist-info", "other-0.2.dist-info"], ""),
        (["skillopt-0.2.0.txt", "skillopt-0.4.dist-info"], "0.4"),
    ],
)
def test_the_other_package_is_known_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], version: str
) -> None:
    monkeypatch.setattr(installation, "_SITE", str(tmp_path))
    for name in names:
        (tmp_path / name).mkdir()
    problem = other_package()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn()
    if version:
        assert f"'skillopt' {version}, which is another project's" in problem
        (warning,) = said
        assert problem in str(warning.message) and "pip uninstall" in str(warning.message)
        assert warning.category is RuntimeWarning
    else:
        assert problem == "" and not said


def test_a_folder_that_cannot_be_read_has_no_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_SITE", "/no/such/folder")
    assert other_package() == ""
    monkeypatch.undo()
    assert Path(installation._SITE, "skillopt", "core").is_dir()


def test_files_of_the_other_package_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not overwritten()
    monkeypatch.setitem(sys.modules, "skillopt", ModuleType("skillopt"))
    assert overwritten()
