"""Companions and real agents in containers: each reaches its own, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harnesses.agents.registry import NAMES
from harnesses.base import Status
from tests.helpers.companions import ASK_IN_IMAGE, Counter
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import ScriptedAgentModel

pytestmark = pytest.mark.engine


def script(folder: Path) -> None:
    """The small command that the agent talks to its companion with, in its workspace."""
    (folder / "ask").write_text(f'#!/bin/sh\nexec {ASK_IN_IMAGE} "$1"\n')
    (folder / "ask").chmod(0o755)


@pytest.mark.parametrize("harness", NAMES)
def test_an_agent_plays_with_its_companion(harness: str, lab: MakeLab) -> None:
    model, game = ScriptedAgentModel(["./ask '{\"add\": 4}'", "./ask '{\"add\": 3}'"]), Counter()
    here = lab(model)
    request = here.request(companion=game)
    assert request.workspace is not None
    script(request.workspace)
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "{'total': 4}" in model.outputs[0] and "{'total': 7}" in model.outputs[1]
    assert (game.closed, game.total) == (1, 7)
    assert len((request.record / "companion.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("harness", ["direct", "codex"])
def test_a_companion_that_fails_is_never_the_agents_fault(harness: str, lab: MakeLab) -> None:
    model, game = ScriptedAgentModel(['./ask \'{"do": "raise"}\'; true']), Counter()
    here = lab(model)
    request = here.request(companion=game)
    assert request.workspace is not None
    script(request.workspace)
    outcome = here.run(harness, request)
    assert outcome.status is Status.INFRA_ERROR
    assert "companion failed: RuntimeError: the board fell off the table" in outcome.message
    assert game.closed == 1


def test_direct_chat_has_no_network_but_the_way_to_its_companion(lab: MakeLab) -> None:
    model = ScriptedAgentModel([
        "ls /sys/class/net; timeout 2 bash -c 'exec 3<>/dev/tcp/1.1.1.1/53'; echo outside=$?",
    ])  # fmt: skip
    here = lab(model)
    outcome = here.run("direct", here.request(companion=Counter()))
    assert outcome.status is Status.COMPLETED
    assert "eth0" not in model.outputs[0] and "outside=0" not in model.outputs[0]
