"""The machine's clock jumps while a run trains: what is decided does not depend on it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from skillopt import train
from tests.helpers.small import small_config

DAY = 86_400.0


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key != "seconds"}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"upstreams.sim.harm": 0.5, "train.epochs": 3, "limits.seconds": 3600.0}
    steady = train(small_config(tmp_path, name="steady", **settings))
    clock, jumps = time.time, itertools.cycle([0.0, DAY, -DAY, 3 * DAY, -5 * DAY])
    monkeypatch.setattr(time, "time", lambda: clock() + next(jumps))
    config = small_config(tmp_path, name="jumping", **settings)
    jumping = train(config.model_copy(update={"runs": tmp_path / "elsewhere"}))
    monkeypatch.undo()
    assert steady.done and jumping.best == steady.best
    shown = [without_times(result.history) for result in (steady, jumping)]
    assert shown[0] == shown[1]
    assert all(spent["seconds"] >= 0 for spent in jumping.summary["spent"]["stages"].values())
