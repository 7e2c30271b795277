"""The driver's part with real nodes in this process: the same results as on one machine, also if
nodes die, freeze, come and go."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.core.types import Rollout
from skillopt.rollouts.cluster import fleet
from skillopt.rollouts.cluster.executor import RayExecutor
from skillopt.rollouts.cluster.machines import ClusterError
from skillopt.rollouts.cluster.node import Node
from skillopt.rollouts.executors import ExecutorSetup
from skillopt.rollouts.prepare import prepare
from skillopt.rollouts.runner import RolloutRunner
from skillopt.run.events import Event
from skillopt.run.records import Noted, RolloutRan
from tests.helpers.near_nodes import NearMachines
from tests.helpers.small import small_config

OPTIONS = {"executor.kind": "ray", "executor.silence_s": 3, "executor.wait_s": 2}


class Near(RayExecutor):
    """The executor, with nodes of this process."""

    def __init__(self, setup: ExecutorSetup, near: NearMachines) -> None:
        super().__init__(setup)
        self.near = near

    def machines(self) -> NearMachines:
        return self.near


@contextmanager
def runner(
    config: Config, near: NearMachines | None
) -> Iterator[tuple[RolloutRunner, list[Event]]]:
    events: list[Event] = []
    prepared = prepare(config)
    made = RolloutRunner(prepared, events.append)
    if near is not None:
        # The plugin is made with the runner's gateway, which is open when it is entered.
        class Late:
            def __enter__(self) -> Near:
                setup = ExecutorSetup(config, made.gateway, listener=events.append)
                self.own = Near(setup, near)
                return self.own.__enter__()

            def __exit__(self, *exc: Any) -> None:
                self.own.__exit__(*exc)

            def cancel(self) -> None:
                self.own.cancel()

            def attempt(self, job: Any, folder: Path) -> Rollout:
                return self.own.attempt(job, folder)

        made.prepared = replace(prepared, plugins=replace(prepared.plugins, executor=Late()))
    with made:
        yield made, events


def everything(made: RolloutRunner, replicates: int = 1) -> list[Rollout]:
    """Rollouts of all tasks without a skill."""
    splits = made.prepared.splits
    tasks = [*splits["train"], *splits["val"], *splits["test"]]
    found = []
    for number in range(replicates):
        found += made.rollouts(tasks, None, replicate=number, max_infra_share=1.0)
    return found


def facts(rollouts: list[Rollout]) -> list[Any]:
    """What must be the same. Prompts are not: tools print the names of temporary folders."""
    return [
        (r.key, r.status, r.reward, r.answer, r.usage.requests, r.usage.completion_tokens,
         r.task.name) for r in rollouts
    ]  # fmt: skip


def files(rollout: Rollout) -> set[str]:
    from skillopt.core.packed import names

    return set(names(rollout.folder))


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def notes(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Noted))


@pytest.mark.slow
def test_the_same_as_on_one_machine(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with runner(small_config(tmp_path / "one"), None) as (made, _):
        alone = everything(made)
    near = NearMachines(["a", "b"])
    patient = {**OPTIONS, "executor.nodes": 2, "executor.silence_s": 30}
    with runner(small_config(tmp_path / "two", **patient), near) as (
        made,
        events,
    ):
        together = everything(made)
        again = everything(made)
    assert "not used any more" not in notes(events)
    for one, other, stored in zip(facts(alone), facts(together), facts(again), strict=True):
        for here, there, kept in zip(one, other, stored, strict=True):
            assert here == there == kept
    assert [files(r) for r in together] == [files(r) for r in alone]
    assert all(str(tmp_path) in str(r.folder) for r in together)
    assert near.wanted == 2
    for links in near.made.values():
        (link,) = links
        assert link.calls.count("attempt") >= 1
        assert link.calls.count("put") <= 6, "a task travels once to a node"
    assert not list((tmp_path / "two" / "runs" / "store" / "tmp").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dies", "freezes"])
def test_a_lost_nodes_rollouts_are_run_elsewhere(how: str, tmp_path: Path) -> None:
    slow = {"upstreams.sim.latency_s": 0.3, "executor.nodes": 2, "workers": 6}
    near = NearMachines(["a", "b"])
    with runner(small_config(tmp_path, **OPTIONS, **slow), near) as (made, events):
        lost_at: list[float] = []

        def lose() -> None:
            (link,) = near.made["a"]
            until(lambda: link.calls.count("attempt") >= 1)
            time.sleep(0.4)
            near.names.remove("a")
            lost_at.append(time.monotonic())
            if how == "dies":
                link.die()
            else:
                link.frozen = True
            until(lambda: "not used any more" in notes(events))
            lost_at.append(time.monotonic())

        thread = threading.Thread(target=lose)
        thread.start()
        found = everything(made)
        thread.join()
    assert lost_at[1] - lost_at[0] < 8
    assert all(rollout.status.scored for rollout in found) and len(found) == 6
    ran = [event for event in events if isinstance(event, RolloutRan)]
    failed = [event for event in ran if event.status is Status.INFRA_ERROR]
    assert failed and all("node a is gone" in event.message for event in failed)
    assert all(event.usage.estimated for event in failed)
    scored = [event.key for event in ran if event.status.scored]
    assert len(scored) == len(set(scored)) == 6, "none is counted twice"


@pytest.mark.slow
def test_nodes_may_join_and_all_may_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "_SCAN_S", 0.1)
    near = NearMachines(["a"])
    with runner(small_config(tmp_path, **OPTIONS), near) as (made, _):
        near.names.append("b")
        until(lambda: "b" in near.made and near.made["b"][0].calls.count("beat") > 1)
        near.names.clear()
        for links in near.made.values():
            links[0].die()
        near.names.append("c")
        found = everything(made)
        assert all(rollout.status.scored for rollout in found)
        assert "attempt" in near.made["c"][0].calls
        near.names.clear()
        near.made["c"][0].die()
        task = made.prepared.splits["train"][0]
        with pytest.raises(PausedError, match="no node of the cluster"):
            made.rollouts([task], None, replicate=9)


@pytest.mark.slow
@pytest.mark.parametrize("worked_s", [0.0, 60.0])
def test_a_node_that_worked_is_used_again_soon_when_its_process_has_died(
    worked_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_SCAN_S", 0.1)
    monkeypatch.setattr(fleet, "_SOON_S", 0.1)
    monkeypatch.setattr(fleet, "_WORKED_S", worked_s)
    near = NearMachines(["a"])
    with runner(small_config(tmp_path, **OPTIONS), near) as (made, events):
        near.made["a"][0].die()
        task = made.prepared.splits["train"][0]
        if worked_s:
            with pytest.raises(PausedError, match="no node of the cluster"):
                made.rollouts([task], None)
        else:
            assert made.rollouts([task], None)[0].status.scored
        assert len(near.made["a"]) == (1 if worked_s else 2)
    assert notes(events).count("node a is used, for") == (1 if worked_s else 2)


@pytest.mark.slow
def test_another_version_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = NearMachines(["old", "new"])
    start = near.start

    def started(node: str, slots: int) -> Any:
        link: Any = start(node, slots)
        if node == "old":
            about = {**link.node.about(), "codex": "0.1"}
            link.node.about = lambda: about
        return link

    monkeypatch.setattr(near, "start", started)
    with runner(small_config(tmp_path, **OPTIONS), near) as (made, events):
        assert all(rollout.status.scored for rollout in everything(made))
        assert "attempt" not in near.made["old"][0].calls
    assert "node old is not used any more: codex is 0.1 there and" in notes(events)


@pytest.mark.slow
def test_a_node_with_a_full_disk_is_not_used_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_SCAN_S", 0.1)
    monkeypatch.setattr(fleet, "_AGAIN_S", 0.2)
    near, full = NearMachines(["a", "b"]), threading.Event()
    opened = Node.open

    def open_or_not(node: Node, orders: Any) -> str:
        return (
            "/tmp/x: 1 MiB are left" if node in nodes() and full.is_set() else opened(node, orders)
        )

    def nodes() -> list[Any]:
        return [link.node for link in near.made.get("a", ())]

    def attempt(node: Node, *arguments: Any) -> Any:
        if node in nodes():
            full.set()
            raise OSError(errno.ENOSPC, "1 MiB are left on the disk", "/tmp/x")
        return run(node, *arguments)

    run = Node.attempt
    monkeypatch.setattr(Node, "open", open_or_not)
    monkeypatch.setattr(Node, "attempt", attempt)
    with runner(small_config(tmp_path, **OPTIONS, **{"executor.nodes": 2}), near) as (made, events):
        assert all(rollout.status.scored for rollout in everything(made))
        until(lambda: len(near.made["a"]) >= 4)
        told = notes(events)
    assert "node a is not used any more: its disk is full: [Errno 28] 1 MiB are left" in told
    assert told.count("node a is not used any more: /tmp/x: 1 MiB are left") == 1


@pytest.mark.slow
def test_a_failure_of_a_nodes_file_system_fails_the_attempt_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []
    run = Node.attempt

    def attempt(node: Node, *arguments: Any) -> Any:
        if not failed:
            failed.append(1)
            raise PermissionError(errno.EACCES, "Permission denied", "/tmp/x")
        return run(node, *arguments)

    monkeypatch.setattr(Node, "attempt", attempt)
    with runner(small_config(tmp_path, **OPTIONS), NearMachines(["a"])) as (made, events):
        assert all(rollout.status.scored for rollout in everything(made))
    assert "not used any more" not in notes(events)
    ran = [event for event in events if isinstance(event, RolloutRan)]
    (lost,) = [event for event in ran if event.status is Status.INFRA_ERROR]
    assert lost.message.startswith("node a: [Errno 13] Permission denied")


@pytest.mark.slow
def test_cancelling_does_not_wait_for_what_is_sent_to_a_frozen_node(tmp_path: Path) -> None:
    near = NearMachines(["a"])
    start = near.start

    def started(node: str, slots: int) -> Any:
        link: Any = start(node, slots)
        call = link.call

        def frozen_at_put(method: str, *arguments: Any) -> Any:
            link.frozen = link.frozen or method == "put"
            return call(method, *arguments)

        link.call = frozen_at_put
        return link

    near.start = started  # type: ignore[method-assign]
    patient = {**OPTIONS, "executor.silence_s": 60}
    with runner(small_config(tmp_path, **patient), near) as (made, _):
        thread = threading.Thread(
            target=lambda: made.rollouts(made.prepared.splits["train"][:1], None, max_infra_share=1)
        )
        thread.start()
        until(lambda: "put" in near.made["a"][0].calls)
        made.cancel()
        thread.join(5)
        assert not thread.is_alive()


def test_without_a_key_no_work_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    http = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9", "key_env": "THEIR_KEY"}
    config = small_config(
        tmp_path, **OPTIONS, **{"upstreams.h": http, "target": {"upstream": "h", "name": "m"}}
    )
    near = NearMachines(["a", "b"])
    with (
        pytest.raises(ClusterError, match="no node of the cluster can be used") as refused,
        runner(config, near),
    ):
        pass
    for name in near.names:
        assert f"{name}: no API key in THEIR_KEY: it is not set there" in str(refused.value)
    assert all("attempt" not in links[0].calls for links in near.made.values())


def test_cancelling_ends_all_at_once(tmp_path: Path) -> None:
    near = NearMachines(["a", "b"])
    slow = {"upstreams.sim.latency_s": 30}
    with runner(small_config(tmp_path, **OPTIONS, **slow), near) as (made, _):
        found: list[Rollout] = []

        def run() -> None:
            with pytest.raises(PausedError):
                found.extend(made.rollouts(made.prepared.splits["train"], None))

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: any("attempt" in link.calls for (link,) in near.made.values()))
        began = time.monotonic()
        made.cancel()
        thread.join(5)
        assert not thread.is_alive() and time.monotonic() - began < 5
    assert all("close" in link.calls for (link,) in near.made.values())
