"""What a ``task.toml`` asks for, key by key: who is root, which image, what is refused and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.features import (
    STEPS,
    artifacts_outside,
    image_name,
    notes_on,
    refuse_unsupported,
    root_user,
)
from skillopt.tasks.tables import Table, TaskError

FILE = Path("task.toml")


def table(name: str = "", **values: Any) -> Table:
    return Table(FILE, name, values)


@pytest.mark.parametrize(
    ("user", "composed", "root"),
    [
        (None, "", None),
        (None, "root", "user = 'root'"),
        (None, "app", ""),
        ("root", "", "user = 'root'"),
        ("root:app", "", "user = 'root:app'"),
        (0, "", "user = 0"),
        ("0", "", "user = '0'"),
        ("00:1000", "", "user = '00:1000'"),
        ("app", "root", ""),
        (1000, "", ""),
        ("1000:0", "", ""),
        ("app:root", "", ""),
        ("rooted", "", ""),
        ("10", "", ""),
    ],
)
def test_which_users_are_root(user: Any, composed: str, root: str | None) -> None:
    found = table("agent.", user=user) if user is not None else table("agent.")
    assert root_user(found, composed) == root


@pytest.mark.parametrize("user", [True, "", " ", "a b", "-a", ":a", "a:", "a:b:c", 1.5, ["a"], -1])
def test_what_is_no_user(user: Any) -> None:
    with pytest.raises(TaskError, match=r"task\.toml: agent\.user: expected a user's name or num"):
        root_user(table("agent.", user=user))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("a", True), ("a/b:1", True), ("host:5000/a@sha256:00", True), ("", True), ("a b", False),
        ("-a", False), ("$A", False), (3, False),
    ],
)  # fmt: skip
def test_names_of_images(name: Any, allowed: bool) -> None:
    given = table("environment.", docker_image=name)
    if allowed:
        assert image_name(given) == name
    else:
        with pytest.raises(TaskError, match=r"task\.toml: environment\.docker_image: "):
            image_name(given)
    assert image_name(table()) == ""


@pytest.mark.parametrize(
    ("artifacts", "outside"),
    [
        ([], []),
        (["out.txt", "/app", "/app/x", "../y"], []),
        (["/application", "/data/x", {"source": "/y"}, {"source": "z"}],
         ["/application", "/data/x", "/y"]),
    ],
)  # fmt: skip
def test_artifacts_outside_of_the_working_directory(artifacts: Any, outside: list[str]) -> None:
    assert list(artifacts_outside(table(artifacts=artifacts), "/app")) == outside
    assert list(artifacts_outside(table(), "/app")) == []


@pytest.mark.parametrize("entry", [3, "", {}, {"source": ""}, {"source": 3}, None])
def test_what_is_no_artifact(entry: Any) -> None:
    with pytest.raises(TaskError, match=r"task\.toml: artifacts: expected paths, got "):
        list(artifacts_outside(table(artifacts=["a", entry]), "/app"))


NO_HOSTS = "remove it or leave this task out"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, None),
        ({"schema_version": "1"}, None),
        ({"schema_version": "1.9"}, None),
        ({"version": "1.0"}, None),
        ({"schema_version": "1.0", "version": "2"}, None),
        ({"schema_version": "10"}, "schema_version: '10' is not supported"),
        ({"version": "2.0"}, "schema_version: '2.0' is not supported"),
        ({"schema_version": 1}, "schema_version: 1 is not supported"),
        ({"steps": []}, None),
        ({"steps": [1]}, f"steps: not supported ([1]); {STEPS}"),
        ({"environment": {"mcp_servers": [1]}},
         f"environment.mcp_servers: not supported ([1]); {NO_HOSTS}"),
        ({"environment": {"healthcheck": {"a": 1}}}, "environment.healthcheck: not supported ({'a"),
        ({"environment": {"allowed_hosts": ["a"]}}, "environment.allowed_hosts: not supported"),
        ({"environment": {"allowed_hosts": []}}, None),
        ({"agent": {"allowed_hosts": ["a"]}},
         "agent.allowed_hosts: not supported (['a']); remove it"),
        ({"environment": {"os": "LINUX"}}, None),
        ({"environment": {"os": "macos"}}, "environment.os: 'macos' is not supported; linux is"),
        ({"environment": {"os": 3}}, "environment.os: expected str"),
        ({"verifier": {"environment_mode": "shared"}}, None),
        ({"verifier": {"environment_mode": "own"}}, "verifier.environment_mode: 'own' is not kno"),
        ({"verifier": {"environment": {"docker_image": "a", "cpus": 1, "storage": "1G"}}}, None),
        ({"verifier": {"environment": {"workdir": "/x"}}},
         "verifier.environment.workdir: not supported; put it into tests/Dockerfile"),
        ({"environment": {"network_mode": "no-network"}}, None),
        ({"agent": {"network_mode": "public"}}, None),
        ({"environment": {"network_mode": "list"}},
         "environment.network_mode: 'list' is not supported: agents run offline"),
        ({"agent": {"network_mode": "list"}}, "agent.network_mode: 'list' is not supported"),
        ({"verifier": {"network_mode": "list"}}, None),
    ],
)  # fmt: skip
def test_what_no_sandbox_has_is_refused(
    values: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    given = Table(FILE, "", values)
    if said is None:
        refuse_unsupported(tmp_path, given)
    else:
        with pytest.raises(TaskError) as error:
            refuse_unsupported(tmp_path, given)
        assert str(error.value).startswith("task.toml: ")
        assert said in str(error.value)


OPENS = "has no effect: sandbox.network opens hosts to agents"
TESTS = "has no effect: sandbox.verifier_network opens hosts to tests"


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({}, []),
        ({"x": 1, "agent": {"y": 1, "user": "a"}, "task": {"z": 1}, "metadata": {"z": 1}},
         ["x: not known; has no effect", "agent.y: not known; has no effect"]),
        ({"solution": {"env": {}, "x": 1}, "verifier": {"x": 1}, "environment": {"x": 1}},
         ["verifier.x: not known; has no effect", "environment.x: not known; has no effect",
          "solution.x: not known; has no effect"]),
        ({"environment": {"allow_internet": True}}, [f"environment.allow_internet: {OPENS}"]),
        ({"environment": {"allow_internet": True, "network_mode": "no-network"}},
         [f"environment.allow_internet: {OPENS}"]),
        ({"environment": {"allow_internet": False}}, []),
        ({"environment": {"network_mode": "public"}, "agent": {"network_mode": "public"}},
         [f"environment.network_mode: {OPENS}", f"agent.network_mode: {OPENS}"]),
        ({"environment": {"network_mode": "no-network"}}, []),
        ({"verifier": {"network_mode": "public", "allowed_hosts": ["a"]}},
         [f"verifier.network_mode: 'public' {TESTS}", f"verifier.allowed_hosts: ['a'] {TESTS}"]),
        ({"verifier": {"allowed_hosts": []}}, []),
        ({"environment": {"skills_dir": "s"}},
         ["environment.skills_dir: has no effect: these skills are left out"]),
        ({"environment": {"skills_dir": ""}}, []),
        ({"verifier": {"environment": {"docker_image": "a", "memory": "1G", "cpus": 1}}},
         ["verifier.environment.memory: has no effect: tests have the agent's limits or the "
          "environment's"]),
        ({"verifier": {"environment": {"docker_image": "a"}}}, []),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_noted(values: dict[str, Any], notes: list[str]) -> None:
    assert list(notes_on(Table(FILE, "", values))) == [f"task.toml: {note}" for note in notes]
