"""What agents and verifiers reach under each network policy, tried from real containers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from harnesses.base import Status
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from skillopt.config.network import Network
from skillopt.config.schema import Config
from skillopt.rollouts.prepare import prepare
from tests.helpers.lab import MakeLab, job
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.small import small_config
from tests.helpers.tasks import make_task
from tests.helpers.web_site import Site

pytestmark = pytest.mark.engine


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("harness", ["codex", "direct"])
def test_an_allow_list_opens_its_hosts_and_nothing_else(
    harness: str, lab: MakeLab, tmp_path: Path, port: int, engine: DockerEngine
) -> None:
    from skillopt.rollouts.rollout import run_job
    from skillopt.rollouts.slots import SandboxSlots
    from skillopt.tasks.environment import Environments

    model = ScriptedAgentModel([
        f"curl -sS http://127.0.0.1:{port}/direct --noproxy '*'; "
        f"curl -sS --proxy $http_proxy --noproxy '' http://127.0.0.1:{port}/listed; "
        "curl -sS -o /dev/null -w ' %{http_connect}' https://example.org/; "
        "timeout 2 bash -c 'exec 3<>/dev/tcp/1.1.1.1/53'; echo connected=$?",
    ])  # fmt: skip
    here = lab(model)
    allowed: Network = (f"127.0.0.1:{port}",)
    task = make_task(
        tmp_path / "task",
        "curl -sS -o /dev/null -w ' %{http_connect}' https://example.org/\n"
        "echo 1 > /logs/verifier/reward.txt\n",
    )
    folder = tmp_path / "record"
    folder.mkdir()
    with (
        SandboxSlots(here.gateway, here.backend, 1, allowed) as slots,
        slots.site() as site,
        slots.verifier() as judge,
    ):
        result = run_job(job(here, harness, task), site, Environments(here.backend), judge, folder)
    assert result.status is Status.COMPLETED and result.reward.feedback == "403"
    said = model.outputs[0]
    assert "/direct" not in said.replace("Failed to connect", "") or "Failed" in said
    assert f"/listed 127.0.0.1:{port}" in said
    assert " 403" in said and "connected=0" not in said
    visits = [json.loads(line) for line in (folder / "network.jsonl").read_text().splitlines()]
    seen = {(visit["host"], bool(visit["refused"])) for visit in visits}
    assert seen >= {("127.0.0.1", False), ("example.org", True)}
    # The program of the agent also knocks elsewhere by itself.
    assert {host for host, refused in seen if not refused} == {"127.0.0.1"}


def test_verifiers_have_a_list_of_their_own(
    lab: MakeLab, tmp_path: Path, port: int, engine: DockerEngine
) -> None:
    from skillopt.rollouts.rollout import run_job
    from skillopt.rollouts.slots import SandboxSlots
    from skillopt.tasks.environment import Environments

    model = ScriptedAgentModel(["env | grep -ci proxy; ls /sys/class/net"])
    here = lab(model)
    asks = f"curl -sS --proxy $http_proxy --noproxy '' http://127.0.0.1:{port}/judge\n"
    task = make_task(tmp_path / "task", asks + "echo 1 > /logs/verifier/reward.txt\n")
    folder = tmp_path / "record"
    folder.mkdir()
    listed = (f"127.0.0.1:{port}",)
    with (
        SandboxSlots(here.gateway, here.backend, 1, "none", listed) as slots,
        slots.site() as site,
        slots.verifier() as judge,
    ):
        result = run_job(job(here, "codex", task), site, Environments(here.backend), judge, folder)
    assert f"/judge 127.0.0.1:{port}" in result.reward.feedback
    assert "\n0\nlo" in model.outputs[0] and "eth0" not in model.outputs[0]
    assert not (folder / "network.jsonl").exists()


def test_open_has_the_engines_network_and_must_be_asked_for(
    engine: DockerEngine, lab: MakeLab
) -> None:
    from sandboxes.base import SandboxSpec
    from skillopt.rollouts.slots import SandboxSlots

    here = lab(ScriptedAgentModel([]))
    networks: tuple[Network, ...] = ("none", "open")
    for network in networks:
        with (
            SandboxSlots(here.gateway, here.backend, 1, network, network) as slots,
            slots.site() as site,
            slots.verifier() as judge,
        ):
            agent = SandboxSpec("skillopt/agent-base:1", network=site.network())
            boxes = (DockerSandbox(engine, agent), judge.sandbox(SandboxSpec(agent.image)))
            for box in boxes:
                with box:
                    links = box.run(["ls", "/sys/class/net"], deadline_s=10).stdout.split()
                    assert (b"eth0" in links) == (network == "open")


def test_the_network_is_part_of_a_rollouts_identity_where_there_is_one(tmp_path: Path) -> None:
    def key(**changes: object) -> str:
        config: Config = small_config(tmp_path, **changes)
        from skillopt.core.skill import Skill
        from skillopt.tasks.sources import load_splits

        task = load_splits(config.tasks, config.seed, config.runs / "tasks")["val"][0]
        return prepare(config).runner(print).key(task, Skill("a", "b", "c"))

    changes = [
        {}, {"sandbox.network": "registries"}, {"sandbox.network": ["pypi.org"]},
        {"sandbox.verifier_network": "registries"},
    ]  # fmt: skip
    assert len({key(**change) for change in changes}) == 4
    assert key(**{"sandbox.network": "none"}) == key()
