"""What containers are made with: no more rights, memory or disk than their specification says."""

from __future__ import annotations

from typing import Any

import pytest

from sandboxes.base import HANDED, Limits, Mount, SandboxSpec
from sandboxes.container import ROOT_IDLE, home_of, host_settings, settings
from sandboxes.docker import IDLE
from sandboxes.shell import SHELL

MEGABYTE = 1024 * 1024


def host(spec: SandboxSpec, **options: Any) -> dict[str, Any]:
    command = options.pop("command", IDLE)
    given: dict[str, Any] = {"cpus": 8, "joined": False, "runtime": None} | options
    return host_settings(spec, command, **given)


@pytest.mark.parametrize(
    ("limits", "cpus", "memory", "nano", "temporary", "largest"),
    [
        (Limits(memory_mb=100, cpus=0.5, disk_mb=1000), 8, 100, 500_000_000, 50, 1000),
        (Limits(memory_mb=100, cpus=2.25, disk_mb=1000), 2, 100, 2_000_000_000, 50, 1000),
        (Limits(memory_mb=100, cpus=1.5, disk_mb=49), 8, 100, 1_500_000_000, 49, 49),
        (Limits(memory_mb=100, cpus=3.0, disk_mb=50), 3, 100, 3_000_000_000, 50, 50),
    ],
)
def test_limits_are_what_they_say(
    limits: Limits, cpus: int, memory: int, nano: int, temporary: int, largest: int
) -> None:
    made = host(SandboxSpec("i", limits=limits), cpus=cpus)
    # As much memory with swap as without: nothing is swapped out.
    assert made["mem_limit"] == made["memswap_limit"] == memory * MEGABYTE
    assert (made["nano_cpus"], made["pids_limit"]) == (nano, limits.pids)
    assert made["tmpfs"]["/tmp"].startswith(f"size={temporary * MEGABYTE},")
    files = {one["Name"]: (one["Soft"], one["Hard"]) for one in made["ulimits"]}
    assert files["fsize"] == (largest * MEGABYTE, largest * MEGABYTE)
    assert files["core"] == (0, 0) and set(files) == {"fsize", "nofile", "core"}


@pytest.mark.parametrize(
    ("image", "keep_as", "in_memory", "there"),
    [
        ("i", "", True, True),
        ("i", "", False, False),
        ("i", "skillopt/warm:1", True, True),
        ("i", f"{HANDED}:1", True, False),
        (f"{HANDED}:1", "", True, False),
        (f"{HANDED}-other:1", f"{HANDED}2:1", True, True),
    ],
)
def test_nothing_that_is_handed_over_lies_in_memory(
    image: str, keep_as: str, in_memory: bool, there: bool
) -> None:
    made = host(SandboxSpec(image, keep_as=keep_as), in_memory=in_memory)
    assert set(made["tmpfs"]) == ({"/tmp"} if there else set())


@pytest.mark.parametrize("root", [False, True])
def test_no_container_has_a_right_beyond_itself(root: bool) -> None:
    made = host(SandboxSpec("i", root=root, network="container:x"))
    assert made["cap_drop"] == ["ALL"] and made["security_opt"] == ["no-new-privileges"]
    beyond = {"SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "MKNOD", "SETFCAP", "SYS_MODULE"}
    assert bool(made["cap_add"]) is root and not beyond & set(made["cap_add"])
    assert (made["network_mode"], made["ipc_mode"]) == ("container:x", "private")
    assert made["log_config"]["Type"] == "none"
    assert not {"privileged", "pid_mode", "devices", "port_bindings"} & set(made)


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ({"command": IDLE}, "init", True),
        ({"command": ROOT_IDLE}, "init", False),
        ({"runtime": "runsc"}, "runtime", "runsc"),
        ({"runtime": None}, "runtime", None),
        ({"joined": True}, "sysctls", {"net.ipv4.tcp_max_tw_buckets": "0"}),
        ({"joined": False}, "sysctls", {}),
    ],
)
def test_what_depends_on_who_starts_a_container(
    options: dict[str, Any], key: str, value: object
) -> None:
    assert host(SandboxSpec("i"), **options).get(key) == value


def test_a_shell_that_runs_commands_is_the_first_process_itself() -> None:
    assert host(SandboxSpec("i", one_shell=True), command=SHELL)["init"] is False


def test_mounts_are_passed_on_in_order() -> None:
    spec = SandboxSpec("i", mounts=(Mount("/a", "/x"), Mount("v", "/y", read_only=False)))
    made = host(spec)["mounts"]
    assert [(one["Target"], one["ReadOnly"]) for one in made] == [("/x", True), ("/y", False)]


@pytest.mark.parametrize("stdin", [False, True])
def test_a_container_runs_its_command_alone(stdin: bool) -> None:
    spec = SandboxSpec("i", "/w", env={"A": "1"})
    made = settings(spec, {"l": "1"}, "5:6", ("a", "b", "c"), stdin=stdin)
    # Of the image neither the entry point nor a check of its health is run.
    assert (made["entrypoint"], made["command"]) == (["a"], ["b", "c"])
    assert made["healthcheck"] == {"test": ["NONE"]} and made["stop_signal"] == "SIGKILL"
    assert (made["image"], made["user"], made["working_dir"]) == ("i", "5:6", "/w")
    assert (made["environment"], made["labels"]) == ({"A": "1"}, {"l": "1"})
    assert made["stdin_open"] is stdin
    assert settings(spec, {}, "5:6", ("a",))["stdin_open"] is False


@pytest.mark.parametrize(
    ("uid", "home"), [(1000, {}), (0, {"HOME": "/tmp"}), (501, {"HOME": "/tmp"})]
)
def test_an_unknown_user_is_at_home_where_it_can_write(uid: int, home: dict[str, str]) -> None:
    assert home_of(uid) == home
