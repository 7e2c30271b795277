"""What is asked of Ray, and what its answers mean; Ray itself is a stand-in of the test's own."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from skillopt.config.executors import RayConfig
from skillopt.rollouts.cluster import survey as surveys
from skillopt.rollouts.cluster.machines import (
    ClusterError,
    GoneError,
    RayMachines,
    first_line,
)
from skillopt.rollouts.cluster.survey import survey


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, text: str, cause: Exception | None = None) -> None:
        super().__init__(text)
        self.cause = cause


class GetTimeoutError(RayError):
    pass


@dataclass
class FakeRay(ModuleType):
    """Ray, as far as it is asked."""

    found: list[dict[str, Any]] = field(default_factory=list)
    inits: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    """What the next attempts to connect raise."""
    wanted: list[list[dict[str, int]]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    got: dict[str, Any] = field(default_factory=dict)
    killed: list[Any] = field(default_factory=list)
    shutdowns: int = 0
    joined: bool = False

    def __post_init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RaySystemError=RayError)
        self._private = SimpleNamespace(worker=SimpleNamespace(print_to_stdstream=print))

    def __hash__(self) -> int:
        return id(self)

    def init(self, **values: Any) -> None:
        self.inits.append(values)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.failures:
            raise self.failures.pop(0)
        self.joined = True

    def is_initialized(self) -> bool:
        return self.joined

    def nodes(self) -> list[dict[str, Any]]:
        if self.failures:
            raise self.failures.pop(0)
        return self.found

    def remote(self, kind: Any) -> Any:
        def options(**values: Any) -> Any:
            self.options.append({"kind": kind, **values})
            return SimpleNamespace(remote=lambda *a: values["scheduling_strategy"].node)

        return SimpleNamespace(options=options)

    def get(self, call: str, timeout: float) -> Any:
        assert 0 <= timeout <= surveys.WAIT_S
        answer = self.got[call]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, handle: Any) -> None:
        self.killed.append(handle)

    def shutdown(self) -> None:
        self.shutdowns += 1


@dataclass(frozen=True)
class Affinity:
    node: str
    soft: bool


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    made = FakeRay()
    exceptions: Any = ModuleType("ray.exceptions")
    exceptions.RayError, exceptions.RayTaskError = RayError, RayTaskError
    exceptions.GetTimeoutError = GetTimeoutError
    strategies: Any = ModuleType("ray.util.scheduling_strategies")
    strategies.NodeAffinitySchedulingStrategy = Affinity
    sdk: Any = ModuleType("ray.autoscaler.sdk")
    sdk.request_resources = lambda bundles: made.wanted.append(bundles)
    for name, module in {
        "ray": made,
        "ray.exceptions": exceptions,
        "ray.util": ModuleType("ray.util"),
        "ray.util.scheduling_strategies": strategies,
        "ray.autoscaler": ModuleType("ray.autoscaler"),
        "ray.autoscaler.sdk": sdk,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(surveys, "check_ray", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    yield made
    assert signal.getsignal(signal.SIGTERM) == before, "Ray's own handlers do not stay"


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": f"{name}23456789", "NodeManagerHostname": "host", "Alive": alive,
        "Resources": resources,
    }  # fmt: skip


def machines(**settings: Any) -> RayMachines:
    return RayMachines(RayConfig(kind="ray", **settings))


def test_nodes_that_live_are_used_by_their_host_and_the_beginning_of_their_id(
    ray: FakeRay,
) -> None:
    ray.found = [node("a", CPU=2), node("b", alive=False, CPU=2), node("c")]
    here = machines()
    assert here.alive() == {"a23456789": "host-a23456", "c23456789": "host-c23456"}
    ray.failures = [RuntimeError("no head")]
    with pytest.raises(ClusterError, match="the cluster does not answer: no head"):
        here.alive()


def test_with_a_resource_only_nodes_that_have_it_are_used(ray: FakeRay) -> None:
    ray.found = [node("a", agents=1), node("b", agents=0), node("c", CPU=1)]
    assert set(machines(resource="agents").alive()) == {"a23456789"}


@pytest.mark.parametrize(
    ("settings", "resources", "held"),
    [
        ({}, {"CPU": 2}, {"num_cpus": 0.001}),
        ({}, {"CPU": 0}, {"num_cpus": 0}),
        ({}, {}, {"num_cpus": 0}),
        (
            {"resource": "agents"},
            {"CPU": 2, "agents": 1},
            {"num_cpus": 0, "resources": {"agents": 0.001}},
        ),
        ({}, None, {"num_cpus": 0}),
    ],
)
def test_a_node_that_is_used_is_held_by_next_to_nothing(
    settings: dict[str, Any], resources: dict[str, float] | None, held: dict[str, Any], ray: FakeRay
) -> None:
    here = machines(**settings)
    if resources is not None:
        ray.found = [{**node("a"), "Resources": resources}]
        here.alive()
    here.start("a23456789", 3)
    ((_, *values),) = [list(options.items()) for options in ray.options]
    assert dict(values) == {
        **held,
        "max_concurrency": 11,
        "max_restarts": 0,
        "max_task_retries": 0,
        "scheduling_strategy": Affinity("a23456789", soft=False),
    }


def test_nodes_are_asked_for_and_no_more_at_the_end(ray: FakeRay) -> None:
    plain = machines()
    plain.close()
    assert ray.wanted == [] and ray.shutdowns == 1
    plain.want(2)
    plain.close()
    named = machines(resource="agents")
    named.want(1)
    named.want(0)
    named.close()
    assert ray.wanted == [[{"CPU": 1}] * 2, [], [{"agents": 1}], []] and ray.shutdowns == 3
    sys.modules["ray.autoscaler.sdk"].request_resources = None  # type: ignore[attr-defined]
    plain.want(1)  # Without an autoscaler nobody is asked.


class Handle:
    """An actor whose methods answer by a future."""

    def __init__(self, answer: Future[Any] | Exception) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Any:
            assert (name, arguments) == ("put", (1, 2))
            if isinstance(self._answer, Exception):
                raise self._answer
            return SimpleNamespace(future=lambda: self._answer)

        return SimpleNamespace(remote=remote)


def link(ray: FakeRay, answer: Future[Any] | Exception) -> Any:
    made: Any = machines().start("a", 1)
    object.__setattr__(made, "handle", Handle(answer))
    return made


CAUSE = OSError("of the node's disk")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (RayTaskError("dump", CAUSE), OSError, "of the node's disk"),
        (RayTaskError("dump"), RayTaskError, "dump"),
        (RayError("\n  it died \n a dump"), GoneError, "RayError: it died"),
        (ValueError("odd"), ValueError, "odd"),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_what_a_call_raises_is_the_nodes_own_or_that_it_is_gone(
    error: Exception, kind: type[Exception], said: str, at_once: bool, ray: FakeRay
) -> None:
    if at_once and type(error) is not RayError:
        return
    answer: Future[Any] = Future()
    done = link(ray, error if at_once else answer).call("put", 1, 2)
    if not at_once:
        assert not done.done()
        answer.set_exception(error)
    with pytest.raises(kind) as found:
        done.result(1)
    assert str(found.value) == said


def test_the_result_of_a_call_is_the_nodes(ray: FakeRay) -> None:
    answer: Future[Any] = Future()
    done = link(ray, answer).call("put", 1, 2)
    answer.set_result("here")
    assert done.result(1) == "here"
    answer = Future()
    done = link(ray, answer).call("put", 1, 2)
    assert done.cancel()
    answer.set_result("nobody waits for it")
    assert done.cancelled()


def test_a_node_is_killed_without_waiting(ray: FakeRay) -> None:
    machines().start("a", 1).kill()
    for thread in threading.enumerate():
        if thread.name == "end-node":
            thread.join(5)
    assert ray.killed == ["a"]


QUIET = {"log_to_driver": False, "logging_level": 50}


@pytest.mark.parametrize(
    ("address", "env", "used"),
    [("", "", "auto"), ("10.0.0.1/x:1", "", "10.0.0.1/x:1"), ("", "h/1", "auto")],
)
def test_a_cluster_is_joined_by_its_address(
    address: str, env: str, used: str, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", env)
    machines(address=address)
    assert ray.inits == [{"address": used, **QUIET}]


@pytest.mark.parametrize("address", ["", "local"])
def test_without_one_a_cluster_is_started_here(address: str, ray: FakeRay) -> None:
    ray.failures = [ConnectionError("no cluster")] if not address else []
    machines(address=address)
    last = ray.inits[-1]
    assert len(ray.inits) == (1 if address else 2)
    assert (last["address"], last["include_dashboard"]) == ("local", False)
    assert last["object_store_memory"] == 256 * 1024**2
    assert last["_system_config"]["health_check_failure_threshold"] == 5
    assert QUIET.items() <= last.items()


@pytest.mark.parametrize(
    ("address", "env", "error", "said"),
    [
        (
            "h/1",
            "",
            ConnectionError("refused\nmore"),
            "address: h/1: no Ray cluster can be reached: Conn",
        ),
        ("", "h/2", ConnectionError("refused"), "h/2: no Ray cluster can be reached"),
        ("", "", RuntimeError("broken"), "this machine: no Ray cluster can be reached: Runtime"),
        ("h/1", "", ValueError("what"), "ValueError: what; start one with 'ray start --head'"),
        (
            "h/1",
            "",
            RuntimeError("Version mismatch:\n  Ray 1 and 2"),
            "h/1: Version mismatch: Ray 1 and 2; install the same version",
        ),
    ],
)
def test_why_a_cluster_cannot_be_joined_is_said(
    address: str,
    env: str,
    error: Exception,
    said: str,
    ray: FakeRay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", env)
    ray.failures = [error]
    with pytest.raises(ClusterError) as found:
        machines(address=address)
    assert said in str(found.value) and found.value.exit_code == 3 and len(ray.inits) == 1


def test_an_address_where_nothing_listens_is_told_at_once(ray: FakeRay) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for host in ("127.0.0.1", "[127.0.0.1]"):
        with pytest.raises(ClusterError, match="ConnectionRefusedError"):
            machines(address=f"{host}:{port}")
    assert not ray.inits
    with socket.create_server(("127.0.0.1", 0)) as listening:
        machines(address=f"127.0.0.1:{listening.getsockname()[1]}")
    for name in ("host:name", "6379", "unix/x:1", "host:"):
        machines(address=name)
    assert len(ray.inits) == 5


def test_what_ray_prints_itself_is_logged(ray: FakeRay, caplog: pytest.LogCaptureFixture) -> None:
    machines()
    with caplog.at_level("INFO"):
        ray._private.worker.print_to_stdstream({"lines": ["it", "died"]}, 1, x=2)
        ray._private.worker.print_to_stdstream({})
    assert [record.getMessage() for record in caplog.records] == ["it died", ""]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n\n first \n second"), "ValueError: first"),
        (ValueError(" \n "), "ValueError"),
        (ValueError("x" * 400), "ValueError: " + "x" * 300),
    ],
)
def test_of_a_failure_its_first_line_is_shown(error: Exception, line: str) -> None:
    assert first_line(error) == line


def function() -> str:
    return "examined"


def test_each_node_is_surveyed_and_one_that_gives_nothing_says_why(ray: FakeRay) -> None:
    ray.found = [node(name) for name in "abcde"]
    ray.got = {
        "a23456789": "fine",
        "b23456789": GetTimeoutError("late"),
        "c23456789": RayTaskError("dump", CAUSE),
        "d23456789": RayTaskError("raised there"),
        "e23456789": RayError("it died"),
    }
    assert dict(survey(RayConfig(kind="ray"), function)) == {
        "host-a23456": "fine",
        "host-b23456": "no reply within 300 s",
        "host-c23456": "OSError: of the node's disk",
        "host-d23456": "RayTaskError: raised there",
        "host-e23456": "RayError: it died",
    }
    assert ray.shutdowns == 1 and len(ray.options) == 5
    options = ray.options[0]
    assert options.pop("kind")(function) == "examined"
    assert options == {
        "num_cpus": 0,
        "max_retries": 0,
        "scheduling_strategy": Affinity("a23456789", soft=False),
    }


def test_the_port_of_an_address_is_its_end(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def create_connection(address: Any, timeout: float) -> Any:
        asked.append((*address, timeout))
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    machines(address="[fd00::1]:6379")
    machines(address="head:6379")
    monkeypatch.setenv("RAY_ADDRESS", "other:1")
    machines()
    assert asked == [("fd00::1", 6379, 10.0), ("head", 6379, 10.0), ("other", 1, 10.0)]


def test_a_version_of_ray_that_prints_otherwise_is_left_alone(ray: FakeRay) -> None:
    ray._private = SimpleNamespace(worker=SimpleNamespace())
    machines()
    assert vars(ray._private.worker) == {}


def test_a_cluster_is_joined_from_any_thread(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    set_by: list[str] = []

    def init(**values: Any) -> None:
        ray.joined = True

    def set_signal(number: int, handler: Any) -> None:
        set_by.append(threading.current_thread().name)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(signal, "signal", set_signal)
    other = threading.Thread(target=machines, name="other")
    other.start()
    other.join(5)
    assert ray.joined and set_by == [], "only the main thread may set them"
    machines()
    assert len(set_by) == 2
