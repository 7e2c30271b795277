"""A node that would run other code than the driver is refused by name."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from skillopt.rollouts.cluster import sameness
from skillopt.rollouts.cluster.sameness import (
    ADVICE,
    difference,
    difference_of_parts,
    own_parts,
    source_digest,
    versions,
)
from skillopt.rollouts.plugins import Plugins
from tests.helpers.small import small_config


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ({}, {}, ""),
        ({"codex": "1"}, {"codex": "1"}, ""),
        ({"codex": "1"}, {"codex": "2"}, f"codex is 2 there and 1 here; {ADVICE}"),
        ({"codex": "1"}, {}, f"codex is missing there and 1 here; {ADVICE}"),
        ({}, {"codex": "1"}, f"codex is 1 there and missing here; {ADVICE}"),
        ({"a": "1", "b": "1"}, {"b": "2", "a": "1"}, f"b is 2 there and 1 here; {ADVICE}"),
        ({"a": "1", "b": "1"}, {"b": "2", "a": "3"}, f"a is 3 there and 1 here; {ADVICE}"),
    ],
)
def test_the_first_difference_is_named(
    here: dict[str, str], there: dict[str, str], said: str
) -> None:
    assert difference(here, there) == said


@pytest.mark.parametrize(
    ("driver", "here", "part"),
    [
        ({}, {}, ""),
        ({"verifier": "a"}, {"verifier": "a"}, ""),
        ({"verifier": "a"}, {"verifier": "b"}, "verifier"),
        ({"harness": "a", "verifier": "a"}, {"harness": "a"}, "verifier"),
        ({}, {"verifier": "b"}, ""),
    ],
)
def test_a_part_of_the_users_own_must_be_the_drivers(
    driver: dict[str, str], here: dict[str, str], part: str
) -> None:
    said = difference_of_parts(driver, here)
    assert said.startswith(f"your own {part} is not the driver's") if part else not said


def test_what_must_be_the_same_is_known_of_this_process() -> None:
    found = versions()
    assert found["its source code"] == source_digest() and len(source_digest()) == 12
    assert found["Python"].count(".") == 1 and {"codex", "claude-code"} <= set(found)


def test_the_digest_of_the_code_is_of_names_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "skillopt" / "rollouts" / "cluster"
    package.mkdir(parents=True)
    (tmp_path / "dockerfiles").mkdir()
    monkeypatch.setattr(sameness, "__file__", str(package / "sameness.py"))
    monkeypatch.setattr(sameness, "resource", lambda name: tmp_path / name)
    seen = [source_digest()]
    for file, text in (
        ("skillopt/a.py", "1"),
        ("skillopt/a.py", "2"),
        ("skillopt/rollouts/b.md", "1"),
        ("harnesses/a.py", "1"),
        ("sandboxes/a.py", "1"),
        ("dockerfiles/x", "1"),
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
        seen.append(source_digest())
    assert len(set(seen)) == len(seen)
    for file in ("skillopt/__pycache__/a.pyc", "skillopt/_data/b"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text("1")
    (tmp_path / "skillopt" / "empty").mkdir()
    (tmp_path / "other.py").write_text("1")
    assert source_digest() == seen[-1]


def test_the_parts_of_a_run_that_rollouts_do_not_have_are_none(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "verifier": "tests.rollouts.test_plugins:has_rule",
        "train.stages": {"rank": "tests.rollouts.test_plugins:first_rule"},
        "upstreams.own": {"kind": "skillopt.sim.model:SimUpstream"},
    }
    config = small_config(tmp_path, **settings)
    assert set(own_parts(config)) == {"verifier", "upstreams.own"}


@pytest.mark.parametrize("installed", [True, False])
def test_the_version_of_the_package_is_told_if_it_is_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        assert name == "skillopt-harness"
        if not installed:
            raise metadata.PackageNotFoundError(name)
        return "9.9"

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(sameness, "source_digest", lambda: "abc")
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "14", "1rc2"))
    found = versions.__wrapped__()
    told = "9.9" if installed else "not installed as a package"
    assert list(found)[:3] == ["skillopt-harness", "its source code", "Python"]
    assert (found["skillopt-harness"], found["its source code"]) == (told, "abc")
    assert found["Python"] == "3.14"


def test_each_part_of_a_rollout_and_no_other_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["harness", "verifier", "sandbox", "gate", "method", "stages.rank", "upstreams.a"]
    asked: list[Any] = []

    def identities(*arguments: Any) -> dict[str, str]:
        asked.append(arguments)
        return dict.fromkeys(names, "x")

    monkeypatch.setattr(sameness, "load_plugins", lambda *arguments: arguments)
    monkeypatch.setattr(sameness, "identities", identities)
    config: Any = object()
    assert list(own_parts(config)) == ["harness", "verifier", "sandbox", "upstreams.a"]
    assert asked == [(config, (config, Plugins()))]
