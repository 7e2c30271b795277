"""Each method's run, killed at random instants and started again, ends as if nobody had."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cells import ALL_CELLS
from tests.helpers.killer import Killer, killed_at_random
from tests.helpers.small import small_config, small_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

KILLS = 30 if ALL_CELLS else 4
NOISY: dict[str, Any] = {"upstreams.sim.harm": 0.5, "upstreams.sim.noise": 0.2, "workers": 3}
METHODS: dict[str, dict[str, Any]] = {
    "one_shot": {},
    "textgrad": {"epochs": 3},
    "gepa": {"rollouts": 40},
    "evoskill": {"iterations": 4},
    "trace2skill": {"skills": 2},
}


def train_method(folder: str, kind: str) -> None:
    from skillopt import train

    train(small_config(Path(folder), method={"kind": kind, **METHODS[kind]}, **NOISY))


@pytest.mark.parametrize("kind", METHODS)
def test_kills_change_nothing(kind: str, tmp_path: Path) -> None:
    if kind == "gepa":
        pytest.importorskip("gepa")
    killer = Killer(partial(train_method, kind=kind), small_set(tmp_path))
    killed_at_random(killer, tmp_path, KILLS, seed=20261127)
