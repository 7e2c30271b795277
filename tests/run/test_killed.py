"""Kill -9 at random instants: every run, started again, ends in the bytes of an undisturbed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandboxes.docker import DockerEngine
from tests.helpers.cells import ALL_CELLS
from tests.helpers.killer import Killer, killed_at_random, killed_in_docker
from tests.helpers.small import small_config, small_set

KILLS = 100 if ALL_CELLS else 15
SETTINGS: dict[str, Any] = {"upstreams.sim.harm": 0.5, "upstreams.sim.noise": 0.1, "workers": 3}


def train_direct(folder: str) -> None:
    from skillopt import train

    train(small_config(Path(folder), **SETTINGS))


def train_in_codex(folder: str) -> None:
    from skillopt import train

    epochs = {} if ALL_CELLS else {"train.epochs": 2}
    train(small_config(Path(folder), "codex", workers=2, **epochs))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_change_nothing(tmp_path: Path) -> None:
    killer = Killer(train_direct, small_set(tmp_path))
    killed_at_random(killer, tmp_path, KILLS, seed=20260824)


@pytest.mark.engine
@pytest.mark.timeout(400)
def test_kills_in_docker_change_nothing(engine: DockerEngine, tmp_path: Path) -> None:
    killer = Killer(train_in_codex, small_set(tmp_path))
    killed_in_docker(killer, tmp_path, KILLS // 10, 7, engine)
