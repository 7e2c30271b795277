"""What every sandbox does alike, whatever it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes.base import CopyRefusedError, Limits, Mount, Sandbox, SandboxError

MakeSandbox = Callable[..., Sandbox]

DETACHED_WRITER = """
( setsid nohup sh -c 'sleep 1.5; echo late > {file}' >/dev/null 2>&1 & )
python3 - <<'EOF'
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for stream in (0, 1, 2):
            os.close(stream)
        time.sleep(1.5)
        open("{file}-2", "w").write("late")
    os._exit(0)
EOF
sleep 60
"""


def test_exit_code_and_streams(make_once: MakeSandbox) -> None:
    result = make_once().run(["sh", "-c", "echo out; echo err >&2; exit 7"], deadline_s=20)
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert not result.timed_out and result.limit is None and not result.truncated
    assert 0 < result.duration_s < 20


def test_standard_input_is_closed(make_once: MakeSandbox) -> None:
    assert make_once().run(["cat"], deadline_s=10).exit_code == 0


def test_a_command_that_is_not_there(make_once: MakeSandbox) -> None:
    assert make_once().run(["no-such-command"], deadline_s=10).exit_code in (126, 127)


def test_death_by_signal_is_an_exit_code(make_once: MakeSandbox) -> None:
    assert make_once().run(["sh", "-c", "kill -9 $$"], deadline_s=10).exit_code == 137


def test_output_arrives_as_it_is_written(make_once: MakeSandbox) -> None:
    arrivals: list[tuple[float, str, bytes]] = []
    make_once().run(
        ["sh", "-c", "echo a; sleep 0.5; echo b >&2"],
        deadline_s=10,
        on_output=lambda stream, chunk: arrivals.append((time.monotonic(), stream, chunk)),
    )
    assert [(stream, chunk) for _, stream, chunk in arrivals] == [
        ("stdout", b"a\n"),
        ("stderr", b"b\n"),
    ]
    assert arrivals[1][0] - arrivals[0][0] > 0.3


def test_all_output_of_many_short_commands_arrives(make: MakeSandbox) -> None:
    sandbox = make()
    assert [sandbox.run(["echo", str(n)], deadline_s=10).stdout for n in range(12)] == [
        f"{n}\n".encode() for n in range(12)
    ]


def test_long_output_loses_its_middle(make_once: MakeSandbox) -> None:
    result = make_once().run(["seq", "200000"], deadline_s=20, max_output=1000)
    assert result.truncated and len(result.stdout) == 1000
    assert result.stdout.startswith(b"1\n2\n") and result.stdout.endswith(b"199999\n200000\n")
    assert result.exit_code == 0


def test_environment_is_what_was_given(
    make_once: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    sandbox = make_once(env={"A": "1", "B": "1"})
    result = sandbox.run(["env"], deadline_s=10, env={"B": "2"})
    lines = result.stdout.decode().splitlines()
    assert {"A=1", "B=2"} <= set(lines)
    assert not any("secret" in line for line in lines)


def test_working_directory(make: MakeSandbox) -> None:
    sandbox = make(workdir="/app")
    assert sandbox.run(["pwd"], deadline_s=10).stdout.decode().strip() == sandbox.path("/app")
    assert sandbox.run(["pwd"], deadline_s=10, cwd="/tmp").stdout.decode().strip() == (
        sandbox.path("/tmp")
    )
    assert sandbox.run(["pwd"], deadline_s=10, cwd="/no/such").exit_code == 126


def test_writable_mount_reaches_the_host(make_once: MakeSandbox, writable: Path) -> None:
    sandbox = make_once(mounts=(Mount(str(writable), "/app", read_only=False),))
    assert sandbox.run(["sh", "-c", "echo hello > file"], deadline_s=10).exit_code == 0
    sandbox.stop()
    assert (writable / "file").read_text() == "hello\n"


def test_read_only_mount_keeps_the_host_as_it_is(make: MakeSandbox, tmp_path: Path) -> None:
    skill = tmp_path / "skill"
    skill.mkdir()
    (skill / "SKILL.md").write_text("rule")
    sandbox = make(mounts=(Mount(str(skill), "/home/agent/skills/one"),))
    path = sandbox.path("/home/agent/skills/one")
    assert sandbox.run(["cat", f"{path}/SKILL.md"], deadline_s=10).stdout == b"rule"
    script = (
        f"chmod -R u+w {path}; echo x > {path}/SKILL.md; rm -rf {path}/SKILL.md; touch {path}/n"
    )
    sandbox.run(["sh", "-c", script], deadline_s=10)
    assert [(entry.name, entry.read_text()) for entry in skill.iterdir()] == [("SKILL.md", "rule")]


def test_missing_mount_source(make: MakeSandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="nothing-here"):
        make(mounts=(Mount(str(tmp_path / "nothing-here"), "/x"),))


def test_copy_in_and_out(make_once: MakeSandbox, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/run.sh").write_text("#!/bin/sh\necho ran > made.txt\n")
    (source / "sub/run.sh").chmod(0o755)
    sandbox = make_once()
    sandbox.copy_in(source, "/work/place")
    ran = sandbox.run(["sh", "-c", "cd sub && ./run.sh"], deadline_s=10, cwd="/work/place")
    assert (ran.exit_code, ran.stderr) == (0, b"")
    sandbox.copy_out("/work/place", tmp_path / "out")
    assert (tmp_path / "out/sub/made.txt").read_text() == "ran\n"
    assert (tmp_path / "out/sub/run.sh").stat().st_mode & 0o111
    sandbox.copy_out("/work/place/sub/made.txt", tmp_path / "single")
    assert (tmp_path / "single").read_text() == "ran\n"


def test_copy_out_of_what_is_not_there(make: MakeSandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError):
        make().copy_out("/tmp/none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copy_out_takes_files_and_folders_only(
    make: MakeSandbox, writable: Path, tmp_path: Path
) -> None:
    sandbox = make(mounts=(Mount(str(writable), "/app", read_only=False),))
    script = (
        "mkdir -p d/e; echo good > d/good; ln -s /etc/passwd d/link; ln -s /etc d/folder;"
        "ln d/good d/hard; mkfifo d/pipe; echo deep > d/e/deep; ln -s d outside; chmod 6777 d/good"
    )
    assert sandbox.run(["bash", "-c", script], deadline_s=10).exit_code == 0
    sandbox.copy_out("/app/d", tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*")}
    assert set(found) - {"hard", "good"} == {"e", "e/deep"}
    assert not any(path.is_symlink() for path in found.values())
    files = [path for path in found.values() if path.is_file()]
    assert all(path.stat().st_mode & 0o7022 == 0 for path in files)


def test_copy_out_refuses_what_is_too_large(
    make_here: MakeSandbox, writable: Path, tmp_path: Path
) -> None:
    mounts = (Mount(str(writable), "/app", read_only=False),)
    sandbox = make_here(mounts=mounts, limits=Limits(disk_mb=10))
    # Sparse: takes no space where it is, and would take 9 MB twice where it goes.
    script = "truncate -s 9M one two"
    assert sandbox.run(["sh", "-c", script], deadline_s=10).exit_code == 0
    with pytest.raises(CopyRefusedError, match="10 MB"):
        sandbox.copy_out("/app", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_deadline_kills_what_has_cut_itself_loose(make_once: MakeSandbox, writable: Path) -> None:
    sandbox = make_once(mounts=(Mount(str(writable), "/app", read_only=False),))
    file = sandbox.path("/app/expected")
    began = time.monotonic()
    result = sandbox.run(["bash", "-c", DETACHED_WRITER.format(file=file)], deadline_s=0.9)
    assert result.timed_out and result.exit_code is None
    assert time.monotonic() - began < 5
    time.sleep(2)
    assert list(writable.iterdir()) == []
    with pytest.raises(SandboxError, match="time limit"):
        sandbox.run(["true"], deadline_s=1)


def test_stop_kills_what_still_runs(make: MakeSandbox, writable: Path) -> None:
    sandbox = make(mounts=(Mount(str(writable), "/app", read_only=False),))
    file = sandbox.path("/app/expected")
    script = f"setsid sh -c 'sleep 1; echo late > {file}' >/dev/null 2>&1 &"
    assert sandbox.run(["sh", "-c", script], deadline_s=10).exit_code == 0
    sandbox.stop()
    sandbox.stop()
    time.sleep(1.2)
    assert list(writable.iterdir()) == []
    with pytest.raises(SandboxError, match="stopped"):
        sandbox.run(["true"], deadline_s=1)


def test_a_background_process_does_not_hold_up_the_result(make_once: MakeSandbox) -> None:
    result = make_once().run(["sh", "-c", "sleep 30 & echo done"], deadline_s=20)
    assert result.stdout == b"done\n" and result.duration_s < 5


def test_closed_output_is_not_the_end(make_once: MakeSandbox) -> None:
    result = make_once().run(["sh", "-c", "exec >&- 2>&-; sleep 1; exit 5"], deadline_s=10)
    assert result.exit_code == 5 and result.duration_s > 0.9


def test_disk_hog_ends_at_its_limit(make_once: MakeSandbox, writable: Path) -> None:
    mounts = (Mount(str(writable), "/app", read_only=False),)
    sandbox = make_once(mounts=mounts, limits=Limits(disk_mb=20))
    script = "for n in $(seq 1000); do head -c 2M /dev/zero > $n; sleep 0.05; done"
    result = sandbox.run(["bash", "-c", script], deadline_s=30)
    assert (result.limit, result.exit_code, result.timed_out) == ("disk", None, False)
    assert sum(file.stat().st_size for file in writable.iterdir()) < 100e6


def test_one_file_cannot_outgrow_the_limit(make: MakeSandbox, writable: Path) -> None:
    mounts = (Mount(str(writable), "/app", read_only=False),)
    sandbox = make(mounts=mounts, limits=Limits(disk_mb=5))
    sandbox.run(["head", "-c", "50M", "/dev/zero"], deadline_s=10)
    sandbox.run(["sh", "-c", "head -c 50M /dev/zero > big"], deadline_s=10)
    sandbox.stop()
    assert (writable / "big").stat().st_size <= 5 * 1024 * 1024
