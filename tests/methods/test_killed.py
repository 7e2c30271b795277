"""Each method's run, killed at random instants and started again, ends as if nobody had."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandboxes.docker import DockerEngine
from tests.helpers.cells import ALL_CELLS
from tests.helpers.killer import Killer, killed_at_random, killed_in_docker
from tests.helpers.small import small_config, small_set

pytestmark = pytest.mark.timeout(600)

KILLS = 30 if ALL_CELLS else 4
NOISY: dict[str, Any] = {"upstreams.sim.harm": 0.5, "upstreams.sim.noise": 0.2, "workers": 3}
METHODS: dict[str, dict[str, Any]] = {
    "one_shot": {},
    "textgrad": {"epochs": 3},
    "gepa": {"rollouts": 40},
    "evoskill": {"iterations": 4},
    "trace2skill": {"skills": 2},
}


IN_DOCKER = (("gepa", "direct"), ("skillopt", "direct"), ("gepa", "codex"))
"""What is killed in containers, SkillOpt in Codex by :mod:`tests.run.test_killed`."""


def train_method(folder: str, kind: str, shipped: str = "local") -> None:
    from skillopt import train

    own = METHODS.get(kind, {}) if shipped == "local" or kind != "gepa" else {"rollouts": 20}
    settings = {"method": {"kind": kind, **own}, **NOISY}
    train(small_config(Path(folder), shipped, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("kind", METHODS)
def test_kills_change_nothing(kind: str, tmp_path: Path) -> None:
    if kind == "gepa":
        pytest.importorskip("gepa")
    killer = Killer(partial(train_method, kind=kind), small_set(tmp_path))
    killed_at_random(killer, tmp_path, KILLS, seed=20261127)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize(("kind", "harness"), IN_DOCKER if ALL_CELLS else IN_DOCKER[:1])
def test_kills_in_docker_change_nothing(
    engine: DockerEngine, kind: str, harness: str, tmp_path: Path
) -> None:
    if kind == "gepa":
        pytest.importorskip("gepa")
    killer = Killer(partial(train_method, kind=kind, shipped=harness), small_set(tmp_path))
    killed_in_docker(killer, tmp_path, 10 if ALL_CELLS else 3, 20261127, engine)
