"""Training the description alone, from its config to the skill: nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.core.skill import read_skill
from tests.helpers.tiny import Tiny, tiny

__all__ = ["tiny"]

SKILL = """\
---
license: MIT
name: my-skill
description: Use it.
metadata: {author: me}
---

# Rules

- Add twice.
"""
OWN = """
def openable(task, workspace, answer):
    if "amount" in (workspace / "said.txt").read_text().partition("# Rules")[0]:
        return Reward(1.0)
    return Reward(0.0, {}, "did not open my-skill, which is for this")
"""


def described(tiny: Tiny, **settings: object) -> Tiny:
    tiny.put("my-skill/SKILL.md", SKILL)
    tiny.put("my-skill/references/more.md", "More.\n")
    for file in tiny.folder.glob("tasks/*/*/instruction.md"):
        file.write_text(f"Add up the amounts of {file.parent.name}.\n")
    tiny.own(OWN)
    tiny.settings["train"].pop("stages")
    tiny.write(verifier="own:openable", **settings)
    return tiny


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"skill__max_tokens": 100}, {"train__candidates": 2}])
def test_the_description_changes_and_nothing_else(more: dict[str, object], tiny: Tiny) -> None:
    described(tiny, train__slow_update=True, train__meta_skill=True, **more)
    done = tiny.train("--only", "description")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tiny.summary["initial_score"], tiny.summary["best_score"]) == (0.0, 1.0)
    (best,) = (tiny.run / "best_skill").iterdir()
    before, after = read_skill(tiny.folder / "my-skill"), read_skill(best)
    assert "amount" in after.description and after.description != before.description
    assert (after.body, after.extra, after.files) == (before.body, before.extra, before.files)
    was, now = before.text.splitlines(), after.text.splitlines()
    assert [line for line in was if line not in now] == ["description: Use it."]
    assert not tiny.events("epoch_done") or "slow" not in str(tiny.events("epoch_done"))
    stages = tiny.summary["spent"]["stages"]
    assert stages["reflect"]["tokens"] and not {"merge", "rank", "slow", "meta"} & set(stages)


@pytest.mark.slow
def test_what_was_trained_alone_is_not_resumed_as_a_whole(tiny: Tiny) -> None:
    described(tiny, train__only="description")
    assert tiny.train().returncode == 0
    tiny.write(train__only="all")
    done = tiny.train()
    assert done.returncode == 2 and "train.only" in done.stderr
    assert Path("runs/tiny").is_dir()


def test_direct_chat_does_not_go_by_a_description(tiny: Tiny) -> None:
    described(tiny, harness={"name": "direct"})
    done = tiny.train("--only", "description", "--dry-run")
    assert done.returncode == 2
    assert "train.only: description: direct chat always has the whole skill" in done.stderr
