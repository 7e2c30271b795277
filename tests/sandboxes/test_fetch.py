"""The script that fetches an agent program trusts nothing but the registry's checksum."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandboxes.images import dockerfiles

Registry = dict[str, bytes]


@pytest.fixture
def registry() -> Iterator[tuple[str, Registry]]:
    """A package registry: its address, and what it answers by path."""
    answers: Registry = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = answers.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_port}"
        tarball = _tarball()
        checksum = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        dist = {"tarball": f"{address}/tool.tgz", "integrity": f"sha1-x sha512-{checksum}"}
        answers["/@some%2Ftool/1.0"] = json.dumps({"dist": dist}).encode()
        answers["/tool.tgz"] = tarball
        yield address, answers
        server.shutdown()


def _tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, mode in (
            ("package/vendor/bin/tool", 0o755),
            ("package/vendor/info.json", 0o644),
            ("package/vendor/voice/large", 0o644),
            ("package/README.md", 0o644),
            ("package/vendor/../../escape", 0o644),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = 1, mode
            tar.addfile(info, io.BytesIO(b"x"))
    return buffer.getvalue()


def fetch(address: str, into: Path, *keep: str, version: str = "1.0") -> tuple[int, str]:
    script = dockerfiles() / "toolchain/fetch.py"
    options = ["--registry", f"{address}/", "--root", "vendor", "--into", str(into)]
    command = [sys.executable, str(script), *options, "@some/tool", version, *keep]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_only_what_is_kept(registry: tuple[str, Registry], tmp_path: Path) -> None:
    code, errors = fetch(registry[0], tmp_path / "into", "bin", "info.json")
    assert (code, errors) == (0, "")
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert names == {"into/bin/tool", "into/info.json"}
    assert (tmp_path / "into/bin/tool").stat().st_mode & 0o111


def test_a_wrong_checksum_is_refused(registry: tuple[str, Registry], tmp_path: Path) -> None:
    registry[1]["/tool.tgz"] += b"tampered"
    code, errors = fetch(registry[0], tmp_path / "into", "bin")
    assert code != 0 and "wrong checksum" in errors
    assert not (tmp_path / "into").exists()


def test_what_is_missing_is_named(registry: tuple[str, Registry], tmp_path: Path) -> None:
    assert "has no libexec" in fetch(registry[0], tmp_path / "a", "bin", "libexec")[1]
    assert "is 2.0 a published version" in fetch(registry[0], tmp_path / "b", "x", version="2.0")[1]
