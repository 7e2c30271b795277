"""An engine that cannot be used is explained before a rollout, and without a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sandboxes.base import EngineUnavailableError
from sandboxes.docker import DockerEngine
from sandboxes.engine_trial import likely_cause, try_mounts


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DOCKER_HOST": "foo://x"}, "no container engine answers at foo://x .*protocol"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:abc"}, "no container engine answers at .*'abc'"),
        ({"DOCKER_HOST": "http://[::1"}, "no container engine answers at .*IPv6"),
        ({"DOCKER_HOST": "/var/run/docker.sock"}, "no container engine answers at /var"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:9"}, "answers at tcp://127.0.0.1:9 .Connection refused"),
        (
            {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "FOLDER"},
            "DOCKER_TLS_VERIFY asks for TLS .*has no cert.pem, key.pem; set DOCKER_CERT_PATH",
        ),
        (
            {"DOCKER_HOST": "tcp://127.0.0.1:9", "DOCKER_TLS_VERIFY": "1",
             "DOCKER_CERT_PATH": "FOLDER"},
            "DOCKER_TLS_VERIFY asks for TLS to the engine at tcp://127.0.0.1:9, but",
        ),
    ],
)  # fmt: skip
def test_settings_that_lead_to_no_engine_are_explained(
    variables: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("FOLDER", str(tmp_path)))
    with pytest.raises(EngineUnavailableError, match=message):
        DockerEngine(patience_s=5)


@pytest.mark.engine
def test_no_request_to_an_engine_of_this_machine_looks_for_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    def fail(*_: object, **__: object) -> dict[str, str]:
        raise AssertionError("it looked through the environment")

    with DockerEngine() as engine:
        if not engine.host.startswith("unix:"):
            pytest.skip("its engine has another address")
        monkeypatch.setattr("requests.sessions.get_environ_proxies", fail)
        assert engine.info["NCPU"] > 0


def test_files_of_certificates_that_are_none_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text("junk")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(EngineUnavailableError, match=r"127\.0\.0\.1:9"):
        DockerEngine(patience_s=5)


@pytest.mark.parametrize(
    ("host", "info", "advice"),
    [
        ("tcp://10.0.0.1:2375", {}, "seems to be another machine"),
        ("unix:///x", {"SecurityOptions": ["name=userns"]}, "remove 'userns-remap'"),
        ("unix:///x", {"SecurityOptions": ["name=rootless"]}, "the engine is rootless"),
        ("unix:///x", {"SecurityOptions": ["name=selinux"]}, "without 'selinux-enabled'"),
        ("unix:///x", {"Name": "colima", "OperatingSystem": "Alpine"}, "Alpine (colima), perhaps"),
        ("unix:///x", {"Name": os.uname().nodename}, "see that containers may use"),
    ],
)
def test_the_likely_cause_is_what_the_engine_tells(
    host: str, info: dict[str, object], advice: str
) -> None:
    engine = cast("DockerEngine", SimpleNamespace(host=host, info=info))
    assert advice in likely_cause(engine)


@pytest.mark.engine
def test_this_engine_mounts_folders_and_sockets(engine: DockerEngine, relay_image: str) -> None:
    check = try_mounts(engine)
    assert check.ok, check
