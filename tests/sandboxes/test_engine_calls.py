"""What an engine is asked for and how its answers are taken, with an engine of a test; and what
ends a command that does not end itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound, NotFound
from requests.exceptions import ConnectionError as BrokenConnection
from requests.exceptions import ReadTimeout
from urllib3.exceptions import ReadTimeoutError

from sandboxes import docker, volumes
from sandboxes.base import (
    EngineUnavailableError,
    ImageMissingError,
    Limits,
    SandboxError,
    SandboxSpec,
)
from sandboxes.docker import (
    ENGINE_LABEL,
    IDLE,
    KIND_LABEL,
    RELAY_KIND,
    SANDBOX_KIND,
    DockerEngine,
    by_dependence,
)
from sandboxes.namespaces import NAMESPACE_KIND
from sandboxes.volumes import CONTENT_LABEL, IMAGE_LABEL, remove_volume, toolchain_volume
from sandboxes.watch import Watch


def refused(status: int, words: str = "no") -> APIError:
    return APIError("refused", SimpleNamespace(status_code=status, reason="r"), words)  # type: ignore[arg-type]


class Api:
    """Remembers what it is asked for, and answers as it was told: with a value or an exception, the
    last of each again and again."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, list[Any]] = {
            "info": [{"NCPU": 4, "Driver": "overlay2", "DriverStatus": None}],
            "create_container": [{"Id": "c1"}],
            "containers": [[]],
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.asked.append((name, arguments[0] if arguments else named))
            answers = self.answers.get(name, [None])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer(*arguments, **named) if callable(answer) else answer

        return call

    def times(self, name: str) -> int:
        return [asked for asked, _ in self.asked].count(name)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Api()
    monkeypatch.setattr(docker, "connect", lambda endpoint, patience_s, called: made)
    monkeypatch.setattr(docker, "pick", lambda info, problem: SimpleNamespace(name="runc"))
    monkeypatch.setattr(docker, "host_settings", lambda spec, command, **given: given)
    return made


@pytest.fixture
def engine(api: Any) -> DockerEngine:
    return DockerEngine("unix:///here", 7)


def launched(engine: DockerEngine, **options: Any) -> str:
    kind = options.pop("kind", SANDBOX_KIND)
    spec = SandboxSpec("i", "/", limits=Limits(disk_mb=9))
    return engine.launch(spec, kind=kind, user="5:6", command=IDLE, **options)


@pytest.mark.parametrize(
    ("kind", "joined"),
    [(SANDBOX_KIND, False), (RELAY_KIND, True), (NAMESPACE_KIND, True), ("look", False)],
)
def test_a_container_is_found_again_by_its_labels(
    kind: str, joined: bool, api: Any, engine: DockerEngine
) -> None:
    assert launched(engine, kind=kind) == "c1"
    made = next(named for name, named in api.asked if name == "create_container")
    assert made["labels"][KIND_LABEL] == kind and made["labels"][ENGINE_LABEL] == engine.id
    assert made["name"].startswith("skillopt-")
    options = next(named for name, named in api.asked if name == "create_host_config")
    assert options == {"cpus": 4, "joined": joined, "runtime": "runc", "in_memory": True}


@pytest.mark.parametrize(
    ("driver", "backing", "limits"),
    [
        ("overlay2", "xfs", True), ("overlay2", "extfs", False), ("overlay2", None, False),
        ("zfs", None, True), ("btrfs", None, False), ("btrfs", "xfs", False), ("vfs", "xfs", False),
    ],
)  # fmt: skip
def test_who_limits_the_size_of_a_layer(
    driver: str, backing: str | None, limits: bool, api: Any, engine: DockerEngine
) -> None:
    status = [["Backing Filesystem", backing]] if backing else None
    api.answers["info"] = [{"NCPU": 4, "Driver": driver, "DriverStatus": status}]
    assert engine.limits_layer_size is limits
    launched(engine)
    options = [named for name, named in api.asked if name == "create_host_config"]
    assert [one.get("storage_opt") for one in options] == [{"size": "9m"} if limits else None]


@pytest.mark.parametrize(
    ("words", "again"), [("the storage-opt is not supported", True), ("no such thing", False)]
)
def test_an_engine_that_cannot_limit_a_layer_after_all_is_not_asked_to(
    words: str, again: bool, api: Any, engine: DockerEngine
) -> None:
    api.answers["info"] = [{"NCPU": 4, "Driver": "zfs", "DriverStatus": None}]
    api.answers["create_container"] = [refused(500, words), {"Id": "c2"}]
    if not again:
        with pytest.raises(SandboxError, match="no such thing"):
            launched(engine)
        assert engine.limits_layer_size
        return
    assert launched(engine) == "c2" and not engine.limits_layer_size
    launched(engine)
    options = [named for name, named in api.asked if name == "create_host_config"]
    assert ["storage_opt" in one for one in options] == [True, False, False]


def test_a_container_whose_making_was_not_answered_is_removed_before_the_next(
    api: Any, engine: DockerEngine
) -> None:
    api.answers["create_container"] = [ReadTimeout("late"), {"Id": "c2"}]
    with pytest.raises(EngineUnavailableError):
        launched(engine)
    made = next(named for name, named in api.asked if name == "create_container")
    assert launched(engine) == "c2"
    assert ("remove_container", made["name"]) in api.asked
    launched(engine)
    assert api.times("remove_container") == 1


@pytest.mark.parametrize("error", [ImageNotFound("none"), refused(500)])
def test_one_that_was_refused_is_not_there(
    error: Exception, api: Any, engine: DockerEngine
) -> None:
    api.answers["create_container"] = [error, {"Id": "c2"}]
    missing = isinstance(error, ImageNotFound)
    with pytest.raises(ImageMissingError if missing else SandboxError):
        launched(engine)
    launched(engine)
    assert api.times("remove_container") == 0


def test_a_container_that_was_made_while_all_are_closed_does_not_stay(
    api: Any, engine: DockerEngine
) -> None:
    def made(**_: Any) -> dict[str, str]:
        engine.close()
        return {"Id": "late"}

    api.answers["create_container"] = [made]
    with pytest.raises(SandboxError, match="have been closed"):
        launched(engine)
    assert ("remove_container", "late") in api.asked
    before = api.times("create_container")
    with pytest.raises(SandboxError, match="have been closed"):
        launched(engine)
    assert api.times("create_container") == before


@pytest.mark.parametrize(
    ("answer", "fine", "waits"),
    [
        (None, True, False), (NotFound("gone"), True, False), (refused(409), True, True),
        (refused(500), False, False), (ReadTimeout("late"), False, False),
    ],
)  # fmt: skip
def test_how_a_container_is_removed(
    answer: Any, fine: bool, waits: bool, api: Any, engine: DockerEngine
) -> None:
    api.answers["remove_container"] = [answer, None]
    if fine:
        engine.remove("c9")
    else:
        with pytest.raises(SandboxError):
            engine.remove("c9")
    assert api.times("wait") == (1 if waits else 0)
    # What could not be removed is tried again before the next container is made.
    launched(engine)
    assert api.times("remove_container") == (1 if fine else 2)


@pytest.mark.parametrize("status", [409, 500])
@pytest.mark.parametrize(("races", "fine"), [(1, True), (3, True), (4, False)])
def test_a_container_that_ends_just_when_it_is_to_be_killed_is_removed(
    status: int, races: int, fine: bool, api: Any, engine: DockerEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(docker, "_REMOVAL_PAUSE_S", 0.0)
    race = refused(status, "could not kill: Container c9 is not running")
    api.answers["remove_container"] = [*[race] * races, None]
    if fine or status == 409:
        engine.remove("c9")
    else:
        with pytest.raises(SandboxError, match="is not running"):
            engine.remove("c9")
    assert api.times("remove_container") == min(4, races + 1)
    assert api.times("wait") == (status == 409 and not fine)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"StatusCode": 0}, 0), ({"StatusCode": 137}, 137), (ReadTimeout("late"), None),
        (BrokenConnection(ReadTimeoutError(None, "u", "late")), None),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_the_end_of_a_container_is_waited_for(
    answer: Any, code: int | None, api: Any, engine: DockerEngine
) -> None:
    waited: list[float] = []

    def wait(container: str, timeout: float) -> Any:
        waited.append(timeout)
        if isinstance(answer, Exception):
            raise answer
        return answer

    api.answers["wait"] = [wait]
    assert engine.wait("c1", 3.0) == code and engine.wait("c1", -1.0) == code
    assert waited[0] == 3.0 and 0 < waited[1] < 0.2


def test_an_engine_that_is_gone_is_no_container_that_runs(api: Any, engine: DockerEngine) -> None:
    api.answers["wait"] = [BrokenConnection("refused")]
    with pytest.raises(EngineUnavailableError):
        engine.wait("c1", 3.0)


@pytest.mark.parametrize(
    ("answer", "started"),
    [
        ({"State": {"Running": True, "StartedAt": "then"}}, "then"),
        ({"State": {"Running": False, "StartedAt": "then"}}, ""),
        (NotFound("gone"), ""),
    ],
)
def test_one_that_does_not_run_was_not_started(
    answer: Any, started: str, api: Any, engine: DockerEngine
) -> None:
    api.answers["inspect_container"] = [answer]
    assert engine.started("c1") == started


def test_the_sizes_of_all_are_asked_for_once(
    api: Any, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(docker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    api.answers["containers"] = [[{"Id": "a", "SizeRw": 5}, {"Id": "b", "SizeRw": None}]]
    assert engine.layer_bytes("a", 999.0) == 5 and engine.layer_bytes("b", 1000.0) == 0
    assert api.times("containers") == 1
    now[0] = 1010.0
    # An answer that is too old, or has not the one that is asked for, is none.
    assert engine.layer_bytes("a", 1000.1) == 5 and api.times("containers") == 2
    assert engine.layer_bytes("new", 0.0) == 0 and api.times("containers") == 3
    now[0] = 1020.0
    api.answers["containers"] = [refused(500), []]
    for container in ("a", "b"):
        with pytest.raises(SandboxError):
            engine.layer_bytes(container, 1015.0)
    assert api.times("containers") == 4
    assert engine.layer_bytes("a", 1020.1) == 0 and api.times("containers") == 5


def test_who_limits_layers_is_not_asked_for_their_sizes(api: Any, engine: DockerEngine) -> None:
    api.answers["info"] = [{"NCPU": 4, "Driver": "zfs", "DriverStatus": None}]
    assert engine.layer_bytes("a", time.monotonic()) == 0 and api.times("containers") == 0


def test_what_happened_to_a_container_until_then(api: Any, engine: DockerEngine) -> None:
    api.answers["events"] = [[{"Action": "kill"}, {"Action": "oom"}, {"Action": "kill"}]]
    assert engine.done_to("c1", "2026-01-01T00:00:00.5Z", 2.25) == {"kill", "oom"}
    asked = api.asked[-1][1]
    assert float(asked["until"]) == 1767225600.5 + 2.25
    assert asked["filters"] == {"container": "c1", "event": ["kill", "oom"]}


@pytest.mark.parametrize(
    ("declared", "apart", "fine"),
    [
        (None, (), True), ({}, (), True), ({"/d": {}}, (), False), ({"/d": {}}, ("/d",), True),
        ({"/d": {}, "/e": {}}, ("/d",), False), ({"/d/e": {}}, ("/d",), False),
    ],
)  # fmt: skip
def test_no_image_is_made_of_what_it_would_not_have(
    declared: Any, apart: tuple[str, ...], fine: bool, api: Any, engine: DockerEngine
) -> None:
    config = {"Config": {"Volumes": declared, "Image": "i"}}
    api.answers["inspect_container"] = [config]
    if fine:
        engine.keep("c1", "kept:1", apart)
        assert api.times("commit") == 1
        return
    with pytest.raises(SandboxError, match="cannot be kept"):
        engine.keep("c1", "kept:1", apart)
    assert api.times("commit") == 0


@pytest.mark.parametrize("where", ["inspect_container", "commit"])
def test_one_that_has_ended_with_its_engine_is_not_kept(
    where: str, api: Any, engine: DockerEngine
) -> None:
    api.answers["inspect_container"] = [{"Config": {"Image": "i"}}]
    api.answers[where] = [NotFound("gone")]
    engine.keep("c1", "kept:1")


def test_what_joins_goes_before_what_is_joined(api: Any, engine: DockerEngine) -> None:
    kinds = {"a": RELAY_KIND, "b": SANDBOX_KIND, "c": NAMESPACE_KIND, "d": None}
    listed: list[dict[str, Any]] = [
        {"Id": id, "Labels": {KIND_LABEL: kind} if kind else None} for id, kind in kinds.items()
    ]
    assert by_dependence(listed) == (["b", "d"], ["a", "c"])
    api.answers["containers"] = [listed]
    engine.close()
    removed = [asked for name, asked in api.asked if name == "remove_container"]
    assert set(removed[:2]) == {"b", "d"} and set(removed[2:]) == {"a", "c"}
    mine = next(named for name, named in api.asked if name == "containers")
    assert mine == {"all": True, "filters": {"label": f"{ENGINE_LABEL}={engine.id}"}}
    engine.close()
    assert api.times("containers") == 1 and api.times("close") == 2


def test_an_image_that_is_missing_is_none(api: Any, engine: DockerEngine) -> None:
    api.answers["inspect_image"] = [{"Id": "i1"}, ImageNotFound("none"), refused(500)]
    assert engine.inspect_image("i") == {"Id": "i1"} and engine.inspect_image("i") is None
    with pytest.raises(SandboxError):
        engine.inspect_image("i")


@pytest.mark.parametrize(
    ("answer", "gone"), [(None, True), (refused(404), True), (refused(409), False)]
)
def test_a_volume_that_is_in_use_stays(
    answer: Any, gone: bool, api: Any, engine: DockerEngine
) -> None:
    api.answers["remove_volume"] = [answer]
    assert remove_volume(engine, "v") is gone
    api.answers["remove_volume"] = [refused(500)]
    with pytest.raises(SandboxError):
        remove_volume(engine, "v")


ANNOUNCED = "skillopt-toolchain-0123456789abcdef"


class Store:
    """The volumes of an engine, with their labels."""

    def __init__(self, api: Any, there: dict[str, dict[str, str]]) -> None:
        self.there = there
        self.faster: dict[str, dict[str, str]] = {}
        """What another process makes at the moment of an announcement."""
        api.answers["inspect_volume"] = [self.inspect]
        api.answers["create_volume"] = [self.create]
        api.answers["remove_volume"] = [self.remove]
        api.answers["inspect_image"] = [{"Id": "sha256:0123456789abcdef0123"}]

    def inspect(self, name: str) -> dict[str, Any]:
        if name not in self.there:
            raise NotFound("none")
        return {"Labels": self.there[name]}

    def create(self, name: str, labels: dict[str, str]) -> None:
        if name == ANNOUNCED:
            self.there.update(self.faster)
        self.there.setdefault(name, labels)  # One that is there stays as it is.

    def remove(self, name: str) -> None:
        self.there.pop(name, None)


@pytest.mark.parametrize(
    ("there", "faster", "content", "fills"),
    [
        ({}, {}, None, 1),
        ({ANNOUNCED: {CONTENT_LABEL: "v"}, "v": {}}, {}, "v", 0),
        # One that names a volume that is gone is announced anew.
        ({ANNOUNCED: {CONTENT_LABEL: "v"}}, {}, None, 1),
        # Another process was faster: its volume is the one, and our own goes.
        ({}, {ANNOUNCED: {CONTENT_LABEL: "w"}, "w": {}}, "w", 1),
    ],
)
@pytest.mark.parametrize("started", [False, True])
def test_a_toolchain_has_one_volume_that_is_whole(
    there: dict[str, dict[str, str]],
    faster: dict[str, dict[str, str]],
    content: str | None,
    fills: int,
    started: bool,
    api: Any,
    engine: DockerEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(api, {name: dict(labels) for name, labels in there.items()})
    store.faster = faster
    looks: list[bool] = []

    def is_filled(_: object, container: str) -> bool:
        looks.append(True)
        return not started or len(looks) == 2

    monkeypatch.setattr(volumes, "_is_filled", is_filled)
    name = toolchain_volume(engine, "tool:1")
    assert name == content if content else name.startswith(f"{ANNOUNCED}-")
    assert set(store.there) == {ANNOUNCED, name}
    assert store.there[ANNOUNCED][CONTENT_LABEL] == name
    if not content:
        assert CONTENT_LABEL not in store.there[name]
        assert store.there[name][IMAGE_LABEL] == "sha256:0123456789abcdef0123"
    assert api.times("start") == (fills if started else 0)
    assert api.times("remove_container") == fills


def test_a_toolchain_that_no_engine_has_or_fills_is_an_error(
    api: Any, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(api, {})
    monkeypatch.setattr(volumes, "_is_filled", lambda *_: False)
    with pytest.raises(SandboxError, match="does not copy the content"):
        toolchain_volume(engine, "tool:1")
    assert ANNOUNCED not in store.there
    api.answers["inspect_image"] = [ImageNotFound("none")]
    with pytest.raises(ImageMissingError, match="has no image tool:1"):
        toolchain_volume(engine, "tool:1")


@pytest.mark.parametrize(
    ("end", "due", "exceeded", "limit", "pause"),
    [
        (10.0, 10.0, True, None, 1.0), (9.0, 10.0, False, "time", 0.0),
        (8.0, 10.0, True, "time", -1.0), (10.0, 9.0, True, "disk", 0.0),
        (10.0, 9.0, False, None, 0.0), (9.0, 9.0, True, "time", 0.0), (12.0, 11.0, True, None, 2.0),
    ],
)  # fmt: skip
def test_what_ends_a_command(
    end: float,
    due: float,
    exceeded: bool,
    limit: str | None,
    pause: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandboxes.watch.time", SimpleNamespace(monotonic=lambda: 9.0))
    guard: Any = SimpleNamespace(
        due=due, exceeded=lambda: exceeded, mounts_exceeded=lambda: exceeded
    )
    watch = Watch(lambda: end, guard)
    assert (watch.reached(), watch.pause_s) == (limit, pause)
    # One that has ended by itself had time enough.
    assert watch.reached_at_end() == ("disk" if exceeded else None)
