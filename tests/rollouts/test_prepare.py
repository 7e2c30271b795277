"""What a config refers to is checked before anything starts; each check by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.errors import BackendError
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.config.upstreams import OwnUpstreamConfig
from skillopt.core.import_path import PluginError
from skillopt.core.skill import SkillError
from skillopt.core.types import Finish, Reward, Task, Triggers
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, prepare, prepared_skill
from skillopt.tasks.harbor import TaskError
from tests.helpers.small import small_config, small_set
from tests.helpers.values import a_task

TRIGGERED = replace(a_task("asked"), triggers=Triggers(opened=("house",)))


def verifier(task: Task, workspace: Path, answer: str) -> Reward:
    return Reward(1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("prepare")
    small_set(folder, ("logs",))
    return small_config(folder)


def changed(base: Config, section: str, **values: Any) -> Config:
    return base.model_copy(update={section: getattr(base, section).model_copy(update=values)})


def tasks(*val: Task, test: tuple[Task, ...] = ()) -> dict[Any, Any]:
    return {"train": (a_task("t"),), "val": val or (a_task("v"),), "test": test}


def prepared(config: Config, *val: Task, **options: Any) -> Prepared:
    given = options.pop("plugins", Plugins())
    return prepare(config, plugins=replace(given, tasks=tasks(*val)), **options)


def long(bytes: int, name: str = "long") -> Task:
    return replace(a_task(name), instruction="é" * (bytes // 2) + "x" * (bytes % 2))


MOST = 127 * 1024


@pytest.mark.parametrize(
    ("task", "harness", "others", "program"),
    [
        (long(MOST), "codex", (), ""),
        (long(MOST + 1), "codex", (), "codex"),
        (long(MOST + 1), "direct", (), ""),
        (long(MOST + 1), "direct", ("claude-code",), "claude-code"),
        (replace(a_task("long"), follow_ups=("x", "x" * (MOST + 1))), "codex", (), "codex"),
    ],
    ids=["fits", "too long", "direct", "another", "a follow-up"],
)
def test_an_instruction_fits_into_an_argument_of_a_program(
    task: Task, harness: str, others: tuple[str, ...], program: str, base: Config
) -> None:
    config = changed(changed(base, "harness", name=harness), "sandbox", kind="docker")
    if not program:
        prepared(config, task, harnesses=others)
        return
    with pytest.raises(TaskError, match=rf"task long: .* {MOST + 1:,} bytes, and {program} can"):
        prepared(config, task, harnesses=others)


@pytest.mark.parametrize(
    ("harness", "message"),
    [
        ({"name": "codex"}, ""),
        ({"name": "direct"}, "task asked asks whether a skill is opened, and direct chat"),
        ({"name": "codex", "mount": "both"}, "harness.mount: both: .* set native"),
        ({"name": "codex", "mount": "instructions"}, "harness.mount: instructions: "),
    ],
)
def test_openings_are_asked_only_where_skills_are_opened(
    harness: dict[str, str], message: str, base: Config
) -> None:
    config = changed(changed(base, "harness", **harness), "sandbox", kind="docker")
    if message:
        with pytest.raises(ConfigError, match=message):
            prepared(config, TRIGGERED)
        # A verifier of the user's own judges the result instead.
        prepared(config, TRIGGERED, plugins=Plugins(verifier=verifier))
    else:
        prepared(config, TRIGGERED)
        with pytest.raises(ConfigError, match="direct chat opens none"):
            prepared(config, TRIGGERED, harnesses=("codex", "direct"))
        prepared(config, a_task("v"), harnesses=("codex", "direct"))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ((), ""),
        (("direct", "codex"), ""),
        (("codx",), r"harness 'codx' is not one of .* \(did you mean 'codex'\?\)"),
        (("zzzz",), r"harness 'zzzz' is not one of [^(]*$"),
    ],
)
def test_other_harnesses_are_named_as_they_are(
    others: tuple[str, ...], message: str, base: Config
) -> None:
    config = changed(base, "sandbox", kind="docker")
    if message:
        with pytest.raises(ConfigError, match=message):
            prepared(config, harnesses=others)
    else:
        prepared(config, harnesses=others)


def test_an_agents_program_needs_its_sandbox(base: Config) -> None:
    local = changed(base, "sandbox", kind="local")
    prepared(local)
    with pytest.raises(BackendError, match="codex"):
        prepared(local, harnesses=("codex",))
    with pytest.raises(BackendError, match="codex"):
        prepared(changed(local, "harness", name="codex"))
    with pytest.raises(BackendError, match=r"tasks\.environment: 'local' sandboxes run no images"):
        prepared(changed(local, "tasks", environment="python:3"))
    docker = changed(base, "sandbox", kind="docker")
    prepared(changed(docker, "tasks", environment="python:3"))


def test_a_task_that_the_sandboxes_cannot_hold_is_refused(base: Config, tmp_path: Path) -> None:
    local = changed(base, "sandbox", kind="local")
    held = replace(a_task("held"), finish=(Finish("calc", lambda folder: None, image="calc:1"),))
    with pytest.raises(BackendError, match="held"):
        prepared(local, held)
    prepared(changed(base, "sandbox", kind="docker"), held)


def test_splits_that_are_needed_have_tasks(base: Config) -> None:
    prepared(base, needs=("train", "val"))
    with pytest.raises(
        TaskError,
        match=r"the test split has no tasks \(train 1, val 1, test 0\).*now \d+:\d+:\d+\)",
    ):
        prepared(base, needs=("train", "test"))


def test_tasks_are_held_out_only_for_a_test_at_the_end(base: Config) -> None:
    many = [replace(a_task(f"v{n}"), digest=f"v{n}") for n in range(20)]
    final = {"test": True, "held_out": 0.5}
    found = prepared(changed(base, "final", **final), *many)
    assert (len(found.splits["val"]), len(found.splits["test"])) == (10, 10)
    assert found.whole is not None and len(found.whole["val"]) == 20
    without = prepared(changed(base, "final", **final | {"test": False}), *many)
    assert len(without.splits["val"]) == 20 and without.whole is None
    assert prepared(changed(base, "final", **final | {"held_out": 0.0}), *many).whole is None


def test_a_limit_on_money_needs_prices(base: Config) -> None:
    target = changed(base, "target", name="nobody-knows-1")
    prepared(target)
    limited = changed(target, "limits", usd=1.0)
    with pytest.raises(ConfigError, match=r"prices\.yaml: no price for 'nobody-knows-1'"):
        prepared(limited)
    prepared(changed(base, "limits", usd=1.0))
    spent = [{"kind": "all", "of": [{"kind": "spent", "usd": 1.0}]}]
    again = Config.model_validate({**target.model_dump(exclude_unset=True), "stop": spent})
    with pytest.raises(ConfigError, match="no price for"):
        prepared(again)


def test_a_harness_of_the_users_own_is_not_looked_up(base: Config) -> None:
    class Mine:
        name = "mine"

        def version(self) -> str:
            return "1"

        def run(self, request: Any, site: Any) -> Any: ...

    mine: Any = Mine()
    local = changed(base, "sandbox", kind="local")
    codex = changed(local, "harness", name="codex")
    found = prepared(codex, plugins=Plugins(harness=mine))
    assert found.plugins.harness is mine and set(found.parts) == {"harness"}
    prepared(codex, long(MOST + 1), plugins=Plugins(harness=mine))


def test_the_skill_that_is_trained_has_its_own_name(base: Config, tmp_path: Path) -> None:
    skill = prepared_skill(base)
    assert skill is not None
    (tmp_path / skill.name).mkdir()
    text = f"---\nname: {skill.name}\ndescription: Other.\n---\n\n- x\n"
    (tmp_path / skill.name / "SKILL.md").write_text(text)
    with pytest.raises(SkillError, match=skill.name):
        prepared_skill(changed(base, "skill", beside=(tmp_path / skill.name,)))
    drafted = changed(base, "skill", init="draft", name=skill.name)
    assert prepared_skill(drafted) is None
    with pytest.raises(SkillError, match=skill.name):
        prepared_skill(changed(drafted, "skill", beside=(tmp_path / skill.name,)))


def test_services_and_other_skills_are_checked_too(base: Config, tmp_path: Path) -> None:
    upstreams = {**base.upstreams, "mine": OwnUpstreamConfig(kind=f"{__name__}:Missing")}
    with pytest.raises(PluginError, match=r"upstreams\.mine"):
        prepared(base.model_copy(update={"upstreams": upstreams}))
    (tmp_path / "long").mkdir()
    text = "\ufeff---\nname: long\ndescription: Long rules.\n---\n\n- x\n"
    (tmp_path / "long" / "SKILL.md").write_text(text)
    docker = changed(base, "sandbox", kind="docker")
    with pytest.raises(SkillError, match="long"):
        prepared(changed(docker, "skill", beside=(tmp_path / "long",)), harnesses=("codex",))
