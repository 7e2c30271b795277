"""What tests have written, read as it is: numbers, feedback, and files that are none."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sandboxes.base import ExecResult
from skillopt.tasks.rewards import (
    FEEDBACK_CHARS,
    REWARD_BYTES,
    VerifierError,
    read_feedback,
    read_metrics,
    read_plain,
    soft_reward,
)


@pytest.mark.parametrize(
    ("name", "content", "metrics"),
    [
        ("reward.json", '{"reward": 0.5}', {"reward": 0.5}),
        ("reward.json", '{"reward": 1, "rows": 7, "ok": true, "said": "x", "n": null}',
         {"reward": 1.0, "rows": 7.0}),
        ("reward.json", '{"a": 0.25, "b": 0.75}', {"a": 0.25, "b": 0.75}),
        ("reward.txt", "1", {"reward": 1.0}),
        ("reward.txt", " 0.25\n", {"reward": 0.25}),
        ("reward.txt", "-3", {"reward": -3.0}),
    ],
)  # fmt: skip
def test_the_numbers_that_tests_wrote(
    name: str, content: str, metrics: dict[str, float], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    found = read_metrics(tmp_path)
    assert found == metrics and all(type(value) is float for value in found.values())


LONG = "k" * 90
BIG = "1" + "0" * 400


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("other.txt", "1", "wrote neither reward.json nor reward.txt"),
        ("reward.txt", "", "wrote no number into reward.txt: b''"),
        ("reward.txt", "x" * 90, f"wrote no number into reward.txt: b'{'x' * 80}'"),
        ("reward.txt", "nan", "wrote nan into reward.txt"),
        ("reward.txt", "-inf", "wrote -inf into reward.txt"),
        ("reward.json", "y" * 90, f"wrote no valid JSON into reward.json: b'{'y' * 80}'"),
        ("reward.json", "[" * 60_000, f"wrote no valid JSON into reward.json: b'{'[' * 80}'"),
        ("reward.json", "", "wrote no valid JSON into reward.json: b''"),
        ("reward.json", "{}", "wrote no object of numbers into reward.json"),
        ("reward.json", "[1]", "wrote no object of numbers into reward.json"),
        ("reward.json", "1", "wrote no object of numbers into reward.json"),
        ("reward.json", '{"a": "1", "b": false}', "wrote no number into reward.json"),
        ("reward.json", '{"reward": "1"}',
         "wrote something other than a number into reward.json: reward"),
        ("reward.json", '{"reward": true}',
         "wrote something other than a number into reward.json: reward"),
        ("reward.json", '{"a": 1, "reward": null}',
         "wrote something other than a number into reward.json: reward"),
        ("reward.json", f'{{"{LONG}": NaN}}', f"wrote nan into reward.json: {'k' * 67}"),
        ("reward.json", f'{{"a": {BIG}}}', "wrote inf into reward.json: a"),
        ("reward.json", '{"a": -1e999}', "wrote -inf into reward.json: a"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_is_no_verdict_is_said(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(VerifierError, match=f"^{re.escape(said)}$"):
        read_metrics(tmp_path)


def test_an_object_of_numbers_counts_before_a_single_one(tmp_path: Path) -> None:
    (tmp_path / "reward.txt").write_text("1")
    (tmp_path / "reward.json").write_text('{"reward": 0}')
    assert read_metrics(tmp_path) == {"reward": 0.0}


@pytest.mark.parametrize("name", ["reward.json", "reward.txt"])
def test_so_much_of_a_reward_is_read(name: str, tmp_path: Path) -> None:
    text = '{"reward": 1}' if name == "reward.json" else "1"
    (tmp_path / name).write_text(text.rjust(REWARD_BYTES))
    assert read_metrics(tmp_path) == {"reward": 1.0} and REWARD_BYTES == 65536
    (tmp_path / name).write_text(text.rjust(REWARD_BYTES + len(text)))
    with pytest.raises(VerifierError):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "soft"),
    [
        ({"reward": 0.25, "rows": 7.0}, 0.25),
        ({"reward": 0.0, "a": 1.0}, 0.0),
        ({"a": 0.5}, 0.5),
        ({"a": 0.5, "b": 1.0, "c": 0.0}, 0.5),
        ({"a": -1.0, "b": 2.0}, 0.5),
        ({"reward": 0.0}, 0.0),
        ({"reward": 1.0}, 1.0),
        ({"reward": 1.0001}, None),
        ({"reward": -0.0001}, None),
        ({"rows": 7.0}, None),
        ({"a": 1.0, "b": 2.0}, None),
    ],
)
def test_the_reward_is_the_one_of_that_name_or_the_mean(
    metrics: dict[str, float], soft: float | None
) -> None:
    if soft is None:
        with pytest.raises(VerifierError, match=r"^gave a reward of \S+, which is not between 0 "):
            soft_reward(metrics)
    else:
        assert soft_reward(metrics) == soft


def test_a_reward_that_is_too_large_is_named() -> None:
    with pytest.raises(VerifierError, match=r"^gave a reward of 7, which is not between 0 and 1$"):
        soft_reward({"rows": 7.0})


@pytest.mark.parametrize(
    ("limit", "ends", "found"),
    [
        (10, False, b"0123456789"),
        (10, True, b"0123456789"),
        (11, True, b"0123456789"),
        (9, False, b"012345678"),
        (9, True, b"0123\n6789"),
        (4, True, b"01\n89"),
        (0, False, b""),
    ],
)
def test_so_many_bytes_of_a_file_are_read(
    limit: int, ends: bool, found: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_plain(tmp_path / "file", limit, ends=ends) == found
    if not ends:
        assert read_plain(tmp_path / "file", limit) == found


def test_what_is_no_file_is_not_read_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    opened = os.listdir("/proc/self/fd")
    for name in ("missing", "folder", "link", "pipe"):
        assert read_plain(tmp_path / name, 10) is None
        assert read_plain(tmp_path / name, 10, ends=True) is None
    assert read_plain(tmp_path / "real", 10) == b"x"
    assert len(os.listdir("/proc/self/fd")) == len(opened)


def ended(stdout: bytes = b"", stderr: bytes = b"") -> ExecResult:
    return ExecResult(0, stdout, stderr, 1.0)


@pytest.mark.parametrize(
    ("written", "stdout", "stderr", "feedback"),
    [
        (b" two rows differ \n", b"out", b"err", "two rows differ"),
        (b"", b"out", b"err", ""),
        (None, b" out\n", b"err", "out"),
        (None, b" \n", b" err\n", "err"),
        (None, b"", b"", ""),
        (b"\xff", b"", b"", "\ufffd"),
    ],
)
def test_the_feedback_is_what_is_written_or_else_printed(
    written: bytes | None, stdout: bytes, stderr: bytes, feedback: str, tmp_path: Path
) -> None:
    if written is not None:
        (tmp_path / "feedback.txt").write_bytes(written)
    assert read_feedback(tmp_path, ended(stdout, stderr)) == feedback


def test_of_a_long_feedback_both_ends_are_kept(tmp_path: Path) -> None:
    (tmp_path / "feedback.txt").write_text("a" * FEEDBACK_CHARS)
    assert read_feedback(tmp_path, ended()) == "a" * 8_000
    megabytes = 4 * 1024 * 1024
    with (tmp_path / "feedback.txt").open("wb") as file:
        file.write(b"first\n")
        file.truncate(2 * megabytes)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast")
    found = read_feedback(tmp_path, ended())
    assert found.startswith("first") and found.endswith("last")
    assert len(found) <= FEEDBACK_CHARS + 100
    # Of four megabytes each line counts.
    half = b" " * (megabytes // 2 - 12)
    (tmp_path / "feedback.txt").write_bytes(b"." + half + b"\nFAILED test_a\n" + half + b"end")
    assert "FAILED test_a" in read_feedback(tmp_path, ended())
