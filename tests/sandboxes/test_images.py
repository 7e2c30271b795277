"""Images are built when their inputs change, and toolchain images become read-only volumes."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harnesses.agents import claude_code, codex, opencode
from harnesses.agents.registry import CLI_AGENTS, toolchains
from harnesses.agents.toolchains import ToolchainError, image_specs
from sandboxes.base import ImageMissingError, Mount, Sandbox, SandboxError
from sandboxes.docker import DockerEngine
from sandboxes.images import ImageSpec, build, image_id, list_images, remove_image
from sandboxes.reaper import clean
from sandboxes.volumes import remove_volume, toolchain_volume

# Every run begins with cleaning up, also volumes whose image is gone.
pytestmark = [pytest.mark.engine, pytest.mark.alone]
TAG = "skillopt/test-image:1"


@pytest.fixture
def spec(engine: DockerEngine, tmp_path: Path) -> Iterator[ImageSpec]:
    """A small image like a toolchain's."""
    folder = tmp_path / "image"
    (folder / "files").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY files/ /toolchain/\n")
    (folder / "files/tool").write_text("#!/bin/sh\necho tool\n")
    (folder / "files/tool").chmod(0o755)
    yield ImageSpec(tag=TAG, folder=folder, kind="toolchain")
    if image_id(engine, TAG) is not None:
        remove_image(engine, TAG)
    clean(engine)


def test_built_once_and_again_when_the_inputs_change(engine: DockerEngine, spec: ImageSpec) -> None:
    lines: list[str] = []
    first = build(engine, spec, log=lines.append)
    assert lines[0] == f"building {TAG}" and any("COPY files/" in line for line in lines)
    assert build(engine, spec, log=lines.append) == first
    assert lines[-1] == f"{TAG} is up to date"
    (spec.folder / "files/tool").write_text("changed")
    second = build(engine, spec)
    assert second != first
    assert image_id(engine, first) is None, "the replaced image is removed"
    [info] = [image for image in list_images(engine) if TAG in image.tags]
    assert (info.id, info.kind) == (second, "toolchain") and info.size_bytes > 0
    remove_image(engine, TAG)
    with pytest.raises(ImageMissingError, match=TAG):
        remove_image(engine, TAG)


def test_a_failing_build_shows_its_last_lines(
    engine: DockerEngine, image: str, spec: ImageSpec
) -> None:
    dockerfile = f"FROM {image}\nRUN echo the reason && exit 3\n"
    (spec.folder / "Dockerfile").write_text(dockerfile)
    with pytest.raises(SandboxError, match=r"(?s)building .* failed: .*3.*the reason"):
        build(engine, spec)


def test_a_base_that_cannot_be_had(engine: DockerEngine, spec: ImageSpec) -> None:
    with pytest.raises(
        ImageMissingError, match=r"127\.0\.0\.1:1/none:1 cannot be pulled.*docker load"
    ):
        build(engine, ImageSpec(tag=TAG, folder=spec.folder, base="127.0.0.1:1/none:1"))


def test_extra_certificates_get_into_the_build(
    engine: DockerEngine, docker: Callable[..., Sandbox], spec: ImageSpec, tmp_path: Path
) -> None:
    bundle = ssl.get_default_verify_paths().openssl_cafile
    pem = Path(bundle).read_text().partition("-----END CERTIFICATE-----")
    (tmp_path / "company.pem").write_text(f"# Company\n{pem[0]}{pem[1]}\n")
    (spec.folder / "Dockerfile").write_text("FROM scratch\nCOPY ca/ /toolchain/\n")
    without = build(engine, spec, ca_files=())
    assert build(engine, spec, ca_files=(tmp_path / "company.pem",)) != without
    sandbox = docker(mounts=(Mount(toolchain_volume(engine, TAG), "/t"),))
    shown = sandbox.run(["cat", "/t/extra-000.crt"], deadline_s=10).stdout.decode()
    assert shown.startswith("-----BEGIN CERTIFICATE-----") and shown.strip() in "".join(pem)
    sandbox.stop()
    (tmp_path / "company.pem").write_text("not PEM")
    with pytest.raises(SandboxError, match=r"company\.pem contains no certificate"):
        build(engine, spec, ca_files=(tmp_path / "company.pem",))


def test_toolchain_volume(
    engine: DockerEngine, docker: Callable[..., Sandbox], spec: ImageSpec
) -> None:
    with pytest.raises(ImageMissingError, match=TAG):
        toolchain_volume(engine, TAG)
    build(engine, spec)
    volume = toolchain_volume(engine, TAG)
    assert toolchain_volume(engine, TAG) == volume
    sandbox = docker(mounts=(Mount(volume, "/opt/skillopt/tool"),))
    assert sandbox.run(["/opt/skillopt/tool/tool"], deadline_s=10).stdout == b"tool\n"
    change = "echo x > /opt/skillopt/tool/tool || rm -rf /opt/skillopt/tool"
    assert b"Read-only" in sandbox.run(["sh", "-c", change], deadline_s=10).stderr

    assert f"volume {volume}" not in clean(engine), "its image is there"
    remove_image(engine, TAG)
    assert f"volume {volume}" not in clean(engine), "a container uses it"
    sandbox.stop()
    assert f"volume {volume}" in clean(engine)


def test_toolchain_volume_that_somebody_removed(engine: DockerEngine, spec: ImageSpec) -> None:
    build(engine, spec)
    volume = toolchain_volume(engine, TAG)
    assert remove_volume(engine, volume)
    assert toolchain_volume(engine, TAG) != volume


def test_pinned_toolchains() -> None:
    assert codex.toolchain().build("aarch64").version.endswith("-linux-arm64")
    assert "aarch64-unknown-linux-musl" in codex.toolchain().build("arm64").root
    assert opencode.toolchain().build("arm64").package == "opencode-linux-arm64"
    other = claude_code.toolchain("9.9.9")
    assert other.image == "skillopt/toolchain-claude-code:9.9.9"
    with pytest.raises(ToolchainError, match="riscv64"):
        codex.toolchain().build("riscv64")
    assert tuple(CLI_AGENTS) == tuple(tool.name for tool in toolchains())
    tags = [spec.tag for spec in image_specs(toolchains({"codex": "1.2.3"}))]
    assert tags == [
        "skillopt/agent-base:1",
        "skillopt/relay:2",
        "skillopt/toolchain-codex:1.2.3",
        f"skillopt/toolchain-claude-code:{claude_code.VERSION}",
        f"skillopt/toolchain-opencode:{opencode.VERSION}",
    ]
