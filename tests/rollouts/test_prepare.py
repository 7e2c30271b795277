"""What a config refers to is checked before anything starts; each check by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.errors import BackendError
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.config.upstreams import HttpConfig, OwnUpstreamConfig
from skillopt.core.import_path import PluginError
from skillopt.core.skill import SkillError
from skillopt.core.types import Finish, Reward, Task, Triggers
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, prepare, prepared_skill
from skillopt.run.spending import Meter
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


PLAN = {"kind": "anthropic", "login": "claude-plan"}


def on_plan(base: Config, **sandbox: Any) -> Config:
    """A config whose target is paid by a Claude plan."""
    own = HttpConfig.model_validate(PLAN)
    config = base.model_copy(update={"upstreams": {**base.upstreams, "plan": own}})
    config = changed(config, "target", upstream="plan")
    return changed(
        changed(config, "harness", name="claude-code"), "sandbox", **{"kind": "docker"} | sandbox
    )


HANDED = replace(a_task("handed"), handover=True)


@pytest.mark.parametrize(
    ("sandbox", "task", "others", "message"),
    [
        ({}, a_task("v"), (), ""),
        ({}, a_task("v"), ("claude-code",), ""),
        ({}, a_task("v"), ("codex",), "harness: codex: a Claude plan is for"),
        ({}, a_task("v"), ("claude-code", "direct"), "harness: direct: a Claude plan is for"),
        ({"network": "open"}, a_task("v"), (), r"sandbox\.network: with a Claude plan"),
        ({}, HANDED, (), r"task handed: its tests look .*tasks\.exclude.*key_env"),
        ({"handover": "workdir"}, HANDED, (), ""),
        ({"handover": "container"}, a_task("v"), (), r"sandbox\.handover: container: "),
    ],
)
def test_a_claude_plan_is_used_by_its_own_agent_on_tasks_that_do_not_keep_it(
    sandbox: dict[str, Any], task: Task, others: tuple[str, ...], message: str, base: Config
) -> None:
    if message:
        with pytest.raises(ConfigError, match=message):
            prepared(on_plan(base, **sandbox), a_task("first"), task, harnesses=others)
    else:
        prepared(on_plan(base, **sandbox), a_task("first"), task, harnesses=others)


class Mine:
    name = "claude-code"

    def version(self) -> str:
        return "1"

    def run(self, request: Any, site: Any) -> Any: ...


def test_an_object_in_place_of_the_agent_has_no_claude_plan(base: Config) -> None:
    mine: Any = Mine()
    with pytest.raises(ConfigError, match="harness: a Claude plan is for"):
        prepared(on_plan(base), plugins=Plugins(harness=mine))
    prepared(changed(on_plan(base), "target", upstream="sim"), plugins=Plugins(harness=mine))


def test_without_a_plan_any_agent_has_any_task(base: Config) -> None:
    config = changed(on_plan(base, handover="container"), "target", upstream="sim")
    prepared(config, HANDED, harnesses=("codex", "direct"))


USD: dict[str, Any] = {"limits": {"usd": 1}}


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        (USD, ""),
        (USD | {"target": {"upstream": "sim", "name": "odd-1"}}, "odd-1"),
        (USD | {"optimizer": {"upstream": "sim", "name": "odd-2"}}, "odd-2"),
        (USD | {"judge": {"upstream": "sim", "name": "odd-3"}}, "odd-3"),
        ({"limits": {"tokens": 9}, "target": {"upstream": "sim", "name": "odd-1"}}, ""),
        (
            {
                "limits": {"stages": {"gate": {"tokens": 9}, "rollout": {"usd": 1}}},
                "target": {"upstream": "sim", "name": "odd-1"},
            },
            "odd-1",
        ),
        (
            {
                "stop": [{"kind": "spent", "tokens": 5}],
                "target": {"upstream": "sim", "name": "odd-1"},
            },
            "",
        ),
        (
            {
                "stop": [{"kind": "spent", "tokens": 5}, {"kind": "spent", "usd": 5}],
                "target": {"upstream": "sim", "name": "odd-1"},
            },
            "odd-1",
        ),
        (USD | {"upstreams": {"sim": {"kind": "sim"}, "plan": PLAN}}, ""),
    ],
)
def test_each_model_has_a_price_if_any_limit_is_on_money(
    settings: dict[str, Any], model: str, base: Config
) -> None:
    config = Config.model_validate({**base.model_dump(exclude_unset=True), **settings})
    if model:
        with pytest.raises(ConfigError, match=rf"prices\.yaml: no price for '{model}'"):
            prepared(config)
    else:
        prepared(config)


def test_a_model_that_a_plan_pays_needs_no_price(base: Config) -> None:
    config = changed(on_plan(base), "limits", usd=1.0)
    prepared(changed(config, "target", upstream="plan", name="odd-1"))
    with pytest.raises(ConfigError, match="no price for 'odd-1'"):
        prepared(changed(config, "target", upstream="sim", name="odd-1"))


def test_the_file_in_which_a_price_is_missing_is_the_users_own(
    base: Config, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("date: 2026-01-01\nmodels: {}\n")
    config = changed(base, "limits", usd=1.0).model_copy(update={"prices": tmp_path / "mine.yaml"})
    with pytest.raises(ConfigError, match=r"mine\.yaml: no price for"):
        prepared(config)


def test_what_was_read_is_handed_on(base: Config) -> None:
    meter = Meter(base.limits)
    assert prepared(base, meter=meter).meter is meter
    limited = changed(base, "limits", tokens=5)
    found = prepared(limited)
    assert found.meter.limits == limited.limits and found.config is limited
    assert (found.judge, found.whole, found.beside, found.parts) == (None, None, (), {})
    assert [task.name for task in found.splits["val"]] == ["v"]
    events: list[Any] = []
    runner = found.runner(events.append)
    assert runner.prepared is found and runner.listener == events.append
    own = prepared(base, plugins=Plugins(verifier=verifier))
    assert set(own.parts) == {"verifier"} and own.plugins.verifier is verifier


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_task_of_any_split_may_be_the_one_that_does_not_fit(split: str, base: Config) -> None:
    config = changed(changed(base, "harness", name="codex"), "sandbox", kind="docker")
    for odd, message in ((long(MOST + 1), "task long: "), (TRIGGERED, "task asked asks")):
        given = {**tasks(), split: (a_task("first"), odd)}
        mounted = changed(config, "harness", mount="both") if odd is TRIGGERED else config
        with pytest.raises((TaskError, ConfigError), match=message):
            prepare(mounted, plugins=Plugins(tasks=given))


def test_text_that_is_none_counts_by_its_bytes(base: Config) -> None:
    config = changed(changed(base, "harness", name="codex"), "sandbox", kind="docker")
    prepared(config, replace(a_task("odd"), instruction="\udcff" * MOST))
    with pytest.raises(TaskError, match="task odd"):
        prepared(config, replace(a_task("odd"), instruction="\udcff" * (MOST + 1)))


def test_a_skill_that_its_agent_would_not_load_is_refused_unless_it_is_mounted_otherwise(
    base: Config, tmp_path: Path
) -> None:
    (tmp_path / "house").mkdir()
    text = "\ufeff---\nname: house\ndescription: House rules.\n---\n\n- x\n"
    (tmp_path / "house" / "SKILL.md").write_text(text)
    config = changed(base, "skill", init=str(tmp_path / "house"))
    assert prepared_skill(config) is not None, "direct chat reads any"
    codex = changed(config, "harness", name="codex")
    with pytest.raises(SkillError, match="house"):
        prepared_skill(codex)
    assert prepared_skill(changed(codex, "harness", mount="instructions")) is not None


@pytest.mark.parametrize("path", ["nowhere_at_all:Backend", f"{__name__}:Mine"])
def test_sandboxes_of_the_users_own_must_be_there(path: str, base: Config) -> None:
    with pytest.raises(PluginError, match=r"sandbox\.kind"):
        prepared(changed(base, "sandbox", kind=path))
