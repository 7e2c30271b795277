"""Builds, lists and removes images, and turns a toolchain image into a volume.

An image is labelled with a checksum of its inputs, and built again only if these have changed. The
base system is found or made in sandboxes/base_image.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import ssl
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sandboxes.base import ImageMissingError, SandboxError
from sandboxes.base_image import ensure_base
from sandboxes.docker import KIND_LABEL, DockerEngine
from sandboxes.docker import RELAY_IMAGE as RELAY_IMAGE
from sandboxes.engine import AGENT_BASE_IMAGE as AGENT_BASE_IMAGE
from sandboxes.engine import EXTRA_IMAGES

INPUTS_LABEL = "skillopt.inputs"
STAGE_LABEL = "skillopt.stage"
"""A label that Dockerfiles set on intermediate stages, to the tag of the image that is built."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_REGISTRIES = ("PIP_INDEX_URL", "NPM_REGISTRY")
_CA_VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")
_CA_FOLDER = "ca"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)

OnLog = Callable[[str], None]
"""A callback that gets each line that a build prints."""


@dataclass(frozen=True)
class ImageSpec:
    """An image and what it is built from."""

    tag: str
    folder: Path
    """The folder of the Dockerfile and of all that it copies."""
    base: str | None = None
    """Value of the build argument ``BASE``; None if the Dockerfile names its bases itself."""
    args: Mapping[str, str] = field(default_factory=dict)
    args_for: Callable[[str], Mapping[str, str]] = lambda machine: {}
    """More arguments, by the architecture of the engine's machine as its kernel names it."""
    kind: str = "image"
    """The label by which `skillopt images list` groups: image, toolchain, task."""


@dataclass(frozen=True)
class ImageInfo:
    """An image of this project on the engine."""

    id: str
    tags: tuple[str, ...]
    kind: str
    size_bytes: int


def build(
    engine: DockerEngine,
    spec: ImageSpec,
    *,
    log: OnLog = lambda line: None,
    ca_files: tuple[Path, ...] | None = None,
    force: bool = False,
    timeout_s: float | None = None,
) -> str:
    """Build the image unless it is up to date; returns its id.

    ``ca_files`` are PEM files with extra CA certificates, by default those that the environment
    names (SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE). Raises SandboxError with the
    end of the build's log if the build fails, or takes longer than ``timeout_s``.
    """
    args = {**spec.args, **spec.args_for(engine.info["Architecture"])}
    if spec.base is not None:
        args["BASE"] = ensure_base(engine, spec.base, log=log)
    args |= _declared_args(spec)
    certificates = _certificates(host_ca_files() if ca_files is None else ca_files)
    context = _Context(spec.folder, certificates)
    base_id = image_id(engine, args["BASE"]) if "BASE" in args else ""
    inputs = context.digest({**args, " base": base_id or ""})
    existing = _labelled(engine, spec.tag, inputs)
    if existing is not None and not force:
        log(f"{spec.tag} is up to date")
        return existing
    log(f"building {spec.tag}")
    replaced = image_id(engine, spec.tag)
    labels = {INPUTS_LABEL: inputs, KIND_LABEL: spec.kind}
    _run_build(engine, spec.tag, context, args, labels, log, timeout_s)
    built = image_id(engine, spec.tag)
    if built is None:
        raise ImageMissingError(f"the build of {spec.tag} succeeded but left no image")
    _discard_leftovers(engine, spec.tag, replaced)
    return built


def extra_image(name: str) -> ImageSpec:
    """One of :data:`sandboxes.engine.EXTRA_IMAGES`, which are made from the agent base."""
    return ImageSpec(tag=EXTRA_IMAGES[name], folder=dockerfiles() / name, base=AGENT_BASE_IMAGE)


def image_id(engine: DockerEngine, tag: str) -> str | None:
    """The id of an image of the engine; None if the image is missing."""
    found = engine.inspect_image(tag)
    return None if found is None else str(found["Id"])


def list_images(engine: DockerEngine) -> list[ImageInfo]:
    """The images that this project has built, by tag."""
    with engine.errors("listing images"):
        found = engine.api.images(filters={"label": KIND_LABEL})
    images = [
        ImageInfo(
            id=str(image["Id"]),
            tags=tuple(image.get("RepoTags") or ()),
            kind=str(image["Labels"][KIND_LABEL]),
            size_bytes=int(image["Size"]),
        )
        for image in found
    ]
    return sorted(images, key=lambda image: image.tags)


def remove_image(engine: DockerEngine, tag: str) -> None:
    """Remove an image. Raises SandboxError if containers or other images need it."""
    with engine.errors(f"removing image {tag}", tag):
        engine.api.remove_image(tag)


def dockerfiles() -> Path:
    """The folder `dockerfiles/`, in a checkout or in an installed package."""
    top = Path(__file__).resolve().parents[1]
    for folder in (top / "dockerfiles", top / "skillopt/_data/dockerfiles"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no dockerfiles/ under {top}; is the installation complete?")


def host_ca_files() -> tuple[Path, ...]:
    """The CA bundles that this machine's environment names, each once."""
    named = [Path(os.environ[name]) for name in _CA_VARIABLES if os.environ.get(name)]
    return tuple(dict.fromkeys(path.resolve() for path in named if path.is_file()))


class _Context:
    """A build context: a folder, and certificates under ``ca/``."""

    def __init__(self, folder: Path, certificates: list[bytes]) -> None:
        if not (folder / "Dockerfile").is_file():
            raise SandboxError(f"{folder} has no Dockerfile")
        self._folder = folder
        self._certificates = certificates if _uses_certificates(folder) else None

    def digest(self, extra: Mapping[str, str]) -> str:
        """Checksum of everything that goes into the build."""
        digest = hashlib.sha256()
        for path in self._files():
            name = path.relative_to(self._folder).as_posix()
            # Names need not be UTF-8.
            digest.update(os.fsencode(f"{name}\0{path.lstat().st_mode:o}\0"))
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            digest.update(hashlib.sha256(content).digest())
        for certificate in self._certificates or ():
            digest.update(certificate)
        for name, value in sorted(extra.items()):
            digest.update(f"{name}={value}\0".encode())
        return digest.hexdigest()

    def archive(self) -> io.BytesIO:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in self._files():
                tar.add(path, arcname=path.relative_to(self._folder).as_posix(), recursive=False)
            if self._certificates is not None:
                folder = tarfile.TarInfo(_CA_FOLDER)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(folder)
                for number, certificate in enumerate(self._certificates):
                    info = tarfile.TarInfo(f"{_CA_FOLDER}/extra-{number:03}.crt")
                    info.size = len(certificate)
                    tar.addfile(info, io.BytesIO(certificate))
        archive.seek(0)
        return archive

    def _files(self) -> Iterator[Path]:
        return context_files(self._folder)


def context_files(folder: Path, besides: Sequence[str] = ()) -> Iterator[Path]:
    """The files and links of a build context, sorted, without those that its ``.dockerignore``
    leaves out.

    Args:
        folder: of the context.
        besides: more patterns in the form of ``.dockerignore``, applied last.
    """
    from docker.utils.build import exclude_paths

    ignore = folder / ".dockerignore"
    patterns = ignore.read_text("utf-8", "replace").splitlines() if ignore.is_file() else []
    excluded = [line for line in patterns if line.strip() and not line.startswith("#")]
    for name in sorted(exclude_paths(str(folder), [*excluded, *besides])):
        path = folder / name
        if path.is_symlink() or path.is_file():
            yield path


def _uses_certificates(folder: Path) -> bool:
    text = (folder / "Dockerfile").read_text()
    return re.search(rf"^COPY {_CA_FOLDER}/", text, re.MULTILINE) is not None


def _certificates(files: tuple[Path, ...]) -> list[bytes]:
    """The certificates in PEM files, one by one, each once."""
    found: dict[bytes, None] = {}
    for path in files:
        blocks = _CERTIFICATE.findall(path.read_bytes())
        if not blocks:
            raise SandboxError(f"{path} contains no certificate; give CA certificates as PEM files")
        for block in blocks:
            ssl.PEM_cert_to_DER_cert(block.decode("ascii").strip())
            found[block.strip() + b"\n"] = None
    return list(found)


def _declared_args(spec: ImageSpec) -> dict[str, str]:
    """Values for those arguments of the Dockerfile that name package registries, as this machine
    has them, and the label of intermediate stages."""
    offered = {name: os.environ[name] for name in _REGISTRIES if name in os.environ}
    offered["STAGE"] = spec.tag
    declared = re.findall(r"^ARG (\w+)", (spec.folder / "Dockerfile").read_text(), re.MULTILINE)
    return {name: value for name, value in offered.items() if name in declared}


def _labelled(engine: DockerEngine, tag: str, inputs: str) -> str | None:
    found = engine.inspect_image(tag)
    labels = (found or {}).get("Config", {}).get("Labels") or {}
    return str(found["Id"]) if found and labels.get(INPUTS_LABEL) == inputs else None


def _discard_leftovers(engine: DockerEngine, tag: str, replaced: str | None) -> None:
    """Remove intermediate stages, and the image that had the tag before unless it is needed."""
    from docker.errors import APIError

    with engine.errors(f"tidying up after building {tag}"):
        stages = {"dangling": True, "label": f"{STAGE_LABEL}={tag}"}
        try:
            engine.api.prune_images(filters=stages)  # type: ignore[no-untyped-call]
        except APIError as error:
            if error.status_code != 409:  # Another build tidies up just now; the next does it.
                raise
        if replaced is not None and not (engine.inspect_image(replaced) or {}).get("RepoTags"):
            with contextlib.suppress(APIError):
                engine.api.remove_image(replaced)


def _in_time(
    ask: Callable[[], Iterator[dict[str, Any]]], too_long: Callable[[], SandboxError]
) -> Iterator[dict[str, Any]]:
    """The events of a build; raises ``too_long`` if the next one does not come in time."""
    from requests.exceptions import ReadTimeout
    from urllib3.exceptions import ReadTimeoutError

    try:
        yield from ask()
    except (ReadTimeout, ReadTimeoutError) as error:
        raise too_long() from error


def _network(engine: DockerEngine) -> str | None:
    """The host's network has the host's way out; containers of mapped users cannot share it."""
    return None if "name=userns" in " ".join(engine.info.get("SecurityOptions") or ()) else "host"


def _run_build(
    engine: DockerEngine,
    tag: str,
    context: _Context,
    args: Mapping[str, str],
    labels: Mapping[str, str],
    log: OnLog,
    timeout_s: float | None,
) -> None:
    proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    tail: list[str] = []
    began = time.monotonic()

    def too_long() -> SandboxError:
        end = "\n".join(tail[-20:])
        return SandboxError(
            f"building {tag} took longer than {timeout_s:g} s; raise environment.build_timeout_sec "
            f"in task.toml\n{end}"
        )

    ask = partial(
        engine.api.build,
        fileobj=context.archive(),
        custom_context=True,
        tag=tag,
        buildargs={**proxies, **args},
        labels=dict(labels),
        network_mode=_network(engine),
        rm=True,
        forcerm=True,
        decode=True,
        # Of silence. The engine ends a build that nobody listens to.
        timeout=None if timeout_s is None else max(1, round(timeout_s)),
    )
    for event in engine.told(f"building {tag}", lambda: _in_time(ask, too_long)):
        if timeout_s is not None and time.monotonic() - began > timeout_s:
            raise too_long()
        if "error" in event:
            end = "\n".join(tail[-20:])
            raise SandboxError(f"building {tag} failed: {event['error'].strip()}\n{end}")
        for line in event.get("stream", "").splitlines():
            if line.strip():
                tail.append(line)
                log(line)
