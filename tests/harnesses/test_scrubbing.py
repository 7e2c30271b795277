"""Secrets are taken out of what is kept, in the forms in which they are usual."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.scrubbing import NOTHING, Scrubber

TOKEN = "sk-ant-oat01-Marker_0815/abc+def?=xyz"
SCRUB = Scrubber([TOKEN])


@pytest.mark.parametrize(
    "form",
    [
        TOKEN, TOKEN[::-1], TOKEN.encode().hex(), TOKEN.encode().hex().upper(),
        quote(TOKEN, safe=""),
    ],
)  # fmt: skip
def test_a_secret_is_found_in_each_form(form: str) -> None:
    text = f"before {form} after"
    found = SCRUB.text(text)
    assert form not in found and len(found) == len(text)
    assert found.startswith("before [removed-secret]") and found.endswith(" after")


@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_a_secret_is_found_in_base64_at_any_place(before: bytes, after: bytes, url: bool) -> None:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    text = encode(before + TOKEN.encode() + after).decode()
    found = SCRUB.text(text)
    assert "[removed-secret]" in found and len(found) == len(text)
    assert TOKEN.encode() not in base64.b64decode(
        found.replace("[", "A").replace("]", "A").replace("-", "+").replace("_", "/")
    )


LONG = "sk-ant-oat01-" + "Marker0815" * 9


@pytest.mark.parametrize("columns", [16, 60, 76])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n    "])
@pytest.mark.parametrize(
    "form",
    [
        LONG, LONG.encode().hex(), base64.b64encode(LONG.encode()).decode(),
        base64.b64encode(f"A=1\nB={LONG}\n".encode()).decode(),
    ],
)  # fmt: skip
def test_a_secret_is_found_if_its_lines_are_wrapped(form: str, end: str, columns: int) -> None:
    wrapped = end.join(form[at : at + columns] for at in range(0, len(form), columns))
    scrub = Scrubber([LONG])
    for text in (wrapped, json.dumps({"output": wrapped}), json.dumps(json.dumps([wrapped]))):
        found = scrub.text(text)
        assert "[removed-secret]" in found and len(found) == len(text)
        left = re.sub(r"\[removed-secret\]|\s|\\+[nr]", "", found)
        assert "Marker" not in left and LONG.encode()[:30].hex() not in left
        assert base64.b64encode(b"Marker0815" * 3).decode()[4:-4] not in left
    json.loads(scrub.text(json.dumps([wrapped])))


def test_a_secret_is_found_in_utf_16() -> None:
    for code in ("utf-16-le", "utf-16-be"):
        found = SCRUB.raw(f"before {TOKEN} after".encode(code))
        assert b"[removed-secret]" in found and b"M\0a\0r\0k" not in found


def test_no_entry_is_replaced_by_one_whose_name_had_a_secret(tmp_path: Path) -> None:
    names = (LONG, LONG[::-1], "x" + LONG, "x" + LONG[::-1])
    for name in names[:2]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name[:1])
    for name in names[2:]:
        (tmp_path / name).write_text(name[:2])
    Scrubber([LONG]).folder(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4 and "Marker" not in str(files) and "rekraM" not in str(files)


@given(st.binary(max_size=200))
def test_all_else_stays(data: bytes) -> None:
    assert SCRUB.raw(data) == data and NOTHING.raw(data) == data


def test_nothing_is_taken_out_without_a_secret() -> None:
    assert not NOTHING and not Scrubber(["", "short"])
    assert TOKEN not in repr(SCRUB)


def test_files_and_names_and_links(tmp_path: Path) -> None:
    (tmp_path / "a" / TOKEN.replace("/", "_")).mkdir(parents=True)
    plain = tmp_path / "a" / "text"
    plain.write_text(f"x{TOKEN}y")
    plain.chmod(0o400)
    os.utime(plain, ns=(1, 2))
    (tmp_path / "other").write_bytes(b"\0\xff binary")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text(TOKEN)
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "told").symlink_to(f"/nowhere/{TOKEN}")
    scrub = Scrubber([TOKEN, TOKEN.replace("/", "_")])
    scrub.folder(tmp_path)
    assert plain.read_text() == "x" + ("[removed-secret]" * 3)[: len(TOKEN)] + "y"
    assert plain.stat().st_mode & 0o777 == 0o400 and plain.stat().st_mtime_ns == 2
    assert (tmp_path / "other").read_bytes() == b"\0\xff binary"
    assert outside.read_text() == TOKEN, "no link is followed"
    assert not (tmp_path / "told").is_symlink() and (tmp_path / "link").is_symlink()
    assert "Marker" not in str(list(tmp_path.rglob("*")))
    outside.unlink()


def test_a_secret_across_the_pieces_of_a_large_file(tmp_path: Path) -> None:
    file = tmp_path / "large"
    for at in ((1 << 20) - 5, (1 << 21) - len(TOKEN), 1 << 20):
        file.write_bytes(b"x" * at + TOKEN.encode() + b"y" * 100)
        SCRUB.folder(tmp_path)
        data = file.read_bytes()
        assert TOKEN.encode() not in data and len(data) == at + len(TOKEN) + 100
        assert data.startswith(b"x" * at + b"[removed") and data.endswith(b"y" * 100)


def test_holes_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as out:
        out.seek(1 << 42)  # Four terabytes.
        out.write(TOKEN.encode())
    SCRUB.folder(tmp_path)
    with file.open("rb") as found:
        found.seek(1 << 42)
        assert found.read().startswith(b"[removed")


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's rights are root's to take")
def test_as_an_ordinary_user() -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from harnesses.scrubbing import Scrubber\n"
        f"os.setuid(1000); Scrubber([{TOKEN!r}]).folder(Path(sys.argv[1]))"
    )
    with TemporaryDirectory() as made:
        closed = Path(made) / "closed"
        closed.write_text(TOKEN)
        closed.chmod(0)
        name = TOKEN.replace("/", "_").encode().hex()
        inner = Path(made) / "folder" / "inner"
        inner.mkdir(parents=True)
        (inner / name).write_text(TOKEN)
        for path in (Path(made), *Path(made).rglob("*")):
            os.chown(path, 1000, 1000)
        inner.chmod(0o555)
        inner.parent.chmod(0)
        secrets = f"[{TOKEN!r}, {TOKEN.replace('/', '_')!r}]"
        script = script.replace(f"[{TOKEN!r}]", secrets)
        done = subprocess.run([sys.executable, "-c", script, made], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert "Marker" not in closed.read_text()
        (left,) = inner.iterdir()
        assert name not in left.name and "Marker" not in left.read_text()


def test_what_has_no_path_is_passed_over(tmp_path: Path) -> None:
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(30):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)
    finally:
        os.chdir(before)
        os.close(before)
    (tmp_path / "text").write_text(TOKEN)
    SCRUB.folder(tmp_path)
    assert "Marker" not in (tmp_path / "text").read_text()
