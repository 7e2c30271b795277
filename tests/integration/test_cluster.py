"""Rollouts on a real Ray cluster: the same results as on one machine, also when nodes are killed,
frozen and cut off; keys stay where they are; nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandboxes.docker import OWNER_LABEL, DockerEngine
from skillopt.core.resources import resource
from tests.helpers.cells import ALL_CELLS
from tests.helpers.cluster import (
    AGENTS,
    RayCluster,
    RayNode,
    cut,
    left_over,
    mend,
    other_network,
    ray_cluster,
)
from tests.helpers.command_line import SKILLOPT, small_options
from tests.helpers.small import small_set, untimed

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(400)]

KEY = "sk-marker-that-nobody-may-see"
KEY_NAME = "CLUSTER_TEST_KEY"
NOTICED_S = 15
"""Seconds after which a node that is lost must have been noticed."""
NEAR = "127.0.0.3"
"""Address of the node on this machine: a driver works with the first node of its own address."""


@dataclass
class Two:
    """A cluster with two nodes for rollouts, of which one is behind a cable if this is root."""

    cluster: RayCluster
    near: RayNode
    far: RayNode
    cable: str
    address: str

    def options(self, nodes: int = 2) -> list[str]:
        settings = {
            "executor.kind": "ray",
            "executor.address": self.cluster.address,
            "executor.resource": AGENTS,
            "executor.slots": 2,
            "executor.nodes": nodes,
        }
        return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]

    @contextlib.contextmanager
    def more(self, count: int) -> Iterator[None]:
        """Some more nodes on this machine, for as long as the block takes."""
        with contextlib.ExitStack() as stack:
            for number in range(count):
                node = self.cluster.add({KEY_NAME: KEY}, address=f"127.0.0.{10 + number}")
                stack.callback(node.stop)
            yield

    def renew_near(self) -> None:
        self.near.stop()
        self.near = self.cluster.add({KEY_NAME: KEY}, address=NEAR)


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with contextlib.ExitStack() as stack:
        cable, there, here = "", "127.0.0.4", "127.0.0.1"
        if os.geteuid() == 0:
            try:
                cable, there, here = stack.enter_context(other_network())
            except (subprocess.CalledProcessError, FileNotFoundError):
                cable = ""  # Without rights for it, as in some containers.
        cluster = stack.enter_context(ray_cluster(here))
        stack.callback(lambda: _nothing_left(cluster.folder))
        near = cluster.add({KEY_NAME: KEY}, address=NEAR)
        far = cluster.add({KEY_NAME: KEY}, inside=cable, address=there)
        yield Two(cluster, near, far, cable, there)
        cluster.close()


def _nothing_left(folder: Path) -> None:
    assert left_over(folder) == []


@dataclass
class Driver:
    """``skillopt train`` in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def end(self, seconds: float = 200) -> str:
        code = self.process.wait(seconds)
        assert code == 0, self.said
        assert "Traceback" not in self.said
        return self.said


@contextlib.contextmanager
def training(folder: Path, shipped: str, *options: str, env: dict[str, str]) -> Iterator[Driver]:
    """A training on the small set that is ended with the block."""
    log = folder / f"log-{shipped}.txt"
    argv = [*SKILLOPT, "train", f"quickstart/{shipped}", *small_options(folder), *options]
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, env={**os.environ, **env}, start_new_session=True
        )
    try:
        yield Driver(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> float:
    """Wait for something; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, what()
        time.sleep(0.05)
    return time.monotonic() - began


def finished(folder: Path) -> int:
    return len(list(folder.glob("runs/store/??/*/result.json")))


def outcome(folder: Path, name: str) -> tuple[Any, dict[str, bytes], list[Any]]:
    """History, best skill and rollouts of a run."""
    run = folder / "runs" / name
    skill = {p.name: p.read_bytes() for p in (run / "best_skill").rglob("*") if p.is_file()}
    history = untimed(json.loads((run / "history.json").read_text()))
    if "local" in name:  # There, tools print the names of temporary folders of several lengths.
        history = [{k: v for k, v in row.items() if k != "tokens"} for row in history]
    rollouts = []
    for file in sorted(folder.glob("runs/store/??/*/result.json")):
        values = json.loads(file.read_text())
        for moving in ("duration_s", "service_s", "finished"):
            values.pop(moving, None)
        if "local" in name:
            values["usage"].pop("prompt_tokens")
        rollouts.append(values)
    return history, skill, rollouts


def lines_about_nodes(driver: Driver) -> int:
    return driver.said.count("is not used any more")


SHORT = ("--set", "train.epochs=1", "--set", "train.credit=0", "--set", "train.prune=0")


@pytest.mark.parametrize(
    "shipped",
    ["direct-local", pytest.param("codex", marks=pytest.mark.engine)],
)
def test_the_same_bytes_as_on_one_machine(shipped: str, two: Two, tmp_path: Path) -> None:
    """Also with four nodes in ``make test-all``."""
    name = {"direct-local": "local"}.get(shipped, shipped)
    found = []
    for nodes in (0, 2, 4) if ALL_CELLS else (0, 2):
        folder = tmp_path / str(nodes)
        folder.mkdir()
        options = two.options(nodes) if nodes else []
        with (
            two.more(max(0, nodes - 2)),
            training(folder, name, *SHORT, *options, env=two.cluster.env) as driver,
        ):
            said = driver.end()
        assert "(raylet)" not in said and "not used any more" not in said
        assert said.count(" is used, for 2 rollouts at once") == nodes, said
        found.append(outcome(folder, f"quickstart-{name}"))
        assert not list((folder / "runs" / "store" / "tmp").iterdir())
    assert all(one == found[0] for one in found)
    assert found[0][1] and len(found[0][2]) > 5


def test_a_kill_a_freeze_and_a_cut_in_one_run(two: Two, tmp_path: Path) -> None:
    slow = ("--set", "upstreams.sim.latency_s=1", "--set", "train.epochs=2")
    one, other = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    other.mkdir()
    noticed: dict[str, float] = {}
    with (
        training(one, "local", "--set", "train.epochs=2", env={}) as alone,
        training(other, "local", *slow, *two.options(), env=two.cluster.env) as driver,
    ):

        def lost(how: str, act: Callable[[], None]) -> None:
            before, done = lines_about_nodes(driver), finished(other)
            until(lambda: finished(other) > done, 90, lambda: driver.said)
            act()
            noticed[how] = until(
                lambda: lines_about_nodes(driver) > before, 40, lambda: f"{how}: {driver.said}"
            )

        lost("killed", lambda: two.near.send(signal.SIGKILL))
        two.renew_near()
        if two.cable:
            lost("cut off", lambda: cut(two.cable))
            mend(two.cable)
        else:
            lost("frozen", lambda: two.far.send(signal.SIGSTOP))
            two.far.send(signal.SIGCONT)
        frozen = two.near
        alive = {p.pid for p in frozen.processes()}
        until(
            lambda: any("ray::Node" in _name(pid) for pid in {p.pid for p in frozen.processes()}),
            90,
            lambda: f"{len(alive)} processes: {driver.said}",
        )
        lost("frozen", lambda: frozen.send(signal.SIGSTOP))
        two.renew_near()
        alone.end()
        said = driver.end()
    assert "(raylet)" not in said
    assert noticed.keys() >= {"killed", "frozen"} and max(noticed.values()) < NOTICED_S, noticed
    history, skill, _ = outcome(other, "quickstart-local")
    expected = outcome(one, "quickstart-local")
    assert [row["action"] for row in history] == [row["action"] for row in expected[0]]
    assert skill == expected[1]
    events = [json.loads(line) for line in
              (other / "runs/quickstart-local/events.jsonl").read_text().splitlines()]  # fmt: skip
    ran = [event for event in events if event["kind"] == "rollout_ran"]
    scored = [event["key"] for event in ran if event["status"] != "infra_error"]
    assert len(scored) == len(set(scored)), "a rollout was counted twice"
    lost_ones = [event for event in ran if event["status"] == "infra_error"]
    assert lost_ones and all(event["usage"]["estimated"] for event in lost_ones)


def _name(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


@contextlib.contextmanager
def model_service(address: str, asked: Path) -> Iterator[str]:
    """A service on a real port that wants the key, in a process of its own; yields its address."""
    code = f"""
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        open({str(asked)!r}, "a").write((self.headers["authorization"] or "none") + "\\n")
        reply = {{"id": "x", "object": "chat.completion", "created": 1, "model": "m",
                 "choices": [{{"index": 0, "finish_reason": "stop",
                 "message": {{"role": "assistant", "content": "done"}}}}],
                 "usage": {{"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}}}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(({address!r}, 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://{address}:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _with_service(url: str, key: str) -> list[str]:
    settings = {
        "upstreams.http.kind": "openai-compatible",
        "upstreams.http.base_url": url,
        "upstreams.http.key_env": key,
        "target.upstream": "http",
        "target.name": "m",
        "limits.rollouts": 8,
        "final.test": "false",
    }
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


def test_keys_stay_on_the_nodes(two: Two, tmp_path: Path) -> None:
    asked, here = tmp_path / "asked.txt", two.cluster.address.partition(":")[0]
    small_set(tmp_path)
    lines: set[str] = set()
    with (
        model_service(here, asked) as url,
        training(
            tmp_path, "local", *SHORT, *two.options(), *_with_service(url, KEY_NAME),
            env={**two.cluster.env, KEY_NAME: ""},
        ) as driver,
    ):  # fmt: skip
        while driver.process.poll() is None:
            lines |= {_name(pid) for pid in psutil.pids()}
            time.sleep(0.2)
    assert set(asked.read_text().split("\n")) == {f"Bearer {KEY}", ""}
    assert not any(KEY in line for line in lines)
    for root in (two.cluster.folder, tmp_path):
        for file in root.rglob("*"):
            if file.is_file() and not file.is_symlink() and file != asked:
                assert KEY.encode() not in file.read_bytes(), file


def test_a_missing_key_is_refused_by_name_before_any_work(two: Two, tmp_path: Path) -> None:
    options = [*two.options(), *_with_service("http://127.0.0.1:9", "NO_SUCH_KEY")]
    with training(tmp_path, "local", *options, env=two.cluster.env) as driver:
        assert driver.process.wait(100) == 3
    assert driver.said.count("no API key in NO_SUCH_KEY: it is not set there") >= 2
    assert finished(tmp_path) == 0


def test_doctor_and_clean_look_at_each_node(two: Two, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    words = two.options()[1::2]
    executor = dict(word.removeprefix("executor.").split("=", 1) for word in words)
    base = resource("configs") / "quickstart" / "local.yaml"
    content = {"base": str(base), "name": "c", "executor": executor}
    file.write_text(json.dumps(content))
    env = {**os.environ, **two.cluster.env}
    done = subprocess.run(
        [*SKILLOPT, "doctor", "--config", str(file), "--json"],
        env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    checks = json.loads(done.stdout)
    names = [check["name"] for check in checks]
    nodes = {name.split(":")[0] for name in names if name.startswith("node ")}
    assert len(nodes) == 2 and all(f"{node}: Python" in names for node in nodes), names
    found = {check["name"].split(": ")[-1]: check for check in checks if "node " in check["name"]}
    assert found["same code"]["ok"] and found["API keys"]["ok"]
    done = subprocess.run(
        [*SKILLOPT, "clean", "--config", str(file), "--dry-run", "--json"],
        env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0 and isinstance(json.loads(done.stdout), list), done.stderr


def _owned(engine: DockerEngine, pids: set[int]) -> list[str]:
    found = engine.api.containers(all=True, filters={"label": OWNER_LABEL})
    return [c["Id"] for c in found if int(c["Labels"][OWNER_LABEL].split("-")[2]) in pids]


@pytest.mark.engine
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_leaves_nothing_on_the_nodes(
    how: signal.Signals, two: Two, engine: DockerEngine, tmp_path: Path
) -> None:
    from sandboxes.owner import scratch_root

    slow = ("--set", "upstreams.sim.latency_s=3")
    with training(tmp_path, "codex", *slow, *two.options(), env=two.cluster.env) as driver:

        def actors() -> set[int]:
            nodes = [*two.near.processes(), *two.far.processes()]
            return {p.pid for p in nodes if "ray::Node" in _name(p.pid)}

        pids: set[int] = set()

        def working() -> bool:
            pids.update(actors())
            return len(_owned(engine, pids)) >= 6

        until(working, 120, lambda: driver.said)
        began = time.monotonic()
        driver.process.send_signal(how)
        driver.process.wait(20)
        if how is signal.SIGINT:
            assert time.monotonic() - began < 8, driver.said
        until(lambda: not _owned(engine, pids), 40, lambda: str(_owned(engine, pids)))
        until(lambda: not actors(), 20, lambda: str(actors()))
        until(
            lambda: not any(list(scratch_root().glob(f"*-{pid}-*")) for pid in pids),
            20,
            lambda: str([list(scratch_root().glob(f"*-{pid}-*")) for pid in pids]),
        )
    # The same command goes on.
    if how is signal.SIGKILL:
        quick = ("--set", "upstreams.sim.latency_s=0", *SHORT, "--set", "limits.rollouts=2")
        with training(tmp_path, "codex", *quick, *two.options(), env=two.cluster.env) as driver:
            assert driver.process.wait(200) in (0, 4), driver.said


@pytest.mark.skipif(not ALL_CELLS, reason="twenty losses at random take minutes (make test-all)")
@pytest.mark.timeout(1800)
def test_losses_at_random(two: Two, tmp_path: Path) -> None:
    """Twenty nodes are killed or frozen at random moments of trainings."""
    chance = random.Random(20)
    one = tmp_path / "one"
    one.mkdir()
    with training(one, "local", env={}) as driver:
        driver.end()
    expected = outcome(one, "quickstart-local")[1]
    losses = 0
    while losses < 20:
        folder = tmp_path / f"run-{losses}"
        folder.mkdir()
        slow = ("--set", "upstreams.sim.latency_s=0.5", "--set", "rollout_tries=8")
        with training(folder, "local", *slow, *two.options(), env=two.cluster.env) as driver:
            while driver.process.poll() is None:
                time.sleep(chance.uniform(2, 15))
                if driver.process.poll() is None:
                    two.near.send(chance.choice([signal.SIGKILL, signal.SIGSTOP]))
                    losses += 1
                    time.sleep(1)
                    two.renew_near()
            driver.end()
        assert outcome(folder, "quickstart-local")[1] == expected
