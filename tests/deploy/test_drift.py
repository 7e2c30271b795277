"""A deployed skill that drifts is reported once, and once more when it is restored."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.deploy import drift
from skillopt.deploy.actions import Standing
from skillopt.deploy.drift import watch_deployed
from skillopt.deploy.ledger import Deployment

ENTRY = Deployment(
    id="a", action="deploy", name="geo", agent="codex", scope="user", form="skill", target="/t",
    before="", after="x", done=True, at=1.0, source={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("states", "reported"),
    [
        (["unchanged"], []),
        (["changed"], ["changed"]),
        (["unchanged", "changed", "changed"], ["changed"]),
        (["changed", "unchanged", "missing"], ["changed", "unchanged", "missing"]),
        (["unchanged", "unchanged"], []),
    ],
)
def test_each_change_of_state_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: list[str], reported: list[str]
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    entry = replace(ENTRY, target=str(tmp_path / "link"))
    steps = iter(states)
    watched: list[Sequence[Path]] = []
    looks: list[int] = []

    @contextmanager
    def watching(paths: Sequence[Path], changed: threading.Event) -> Iterator[Any]:
        assert changed.is_set(), "the first look is at once"
        watched.append(paths)
        yield lambda: looks.append(1)

    rounds = iter([*[True] * len(states), False])
    monkeypatch.setattr(drift, "watching", watching)
    monkeypatch.setattr(drift, "settled", lambda changed, stop: next(rounds))
    first = [Standing(entry, "unchanged")]
    monkeypatch.setattr(
        drift, "list_standing",
        lambda ledger: [Standing(entry, next(steps))] if watched else first,
    )  # fmt: skip
    seen: list[Standing] = []
    watch_deployed(seen.append, threading.Event(), tmp_path / "log")
    assert [one.state for one in seen] == reported and len(looks) == len(states)
    assert watched == [[tmp_path / "link", tmp_path / "real"]]
