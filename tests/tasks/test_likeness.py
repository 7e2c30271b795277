"""Which tasks are the same but for numbers and a few names."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.core.types import Task
from skillopt.tasks import likeness
from skillopt.tasks.likeness import Alike, alike

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
TEXT = " ".join(WORDS[:60])


def a_task(name: str, text: str = "Do it.", folder: Path | None = None) -> Task:
    return Task(name=name, instruction=text, digest=name, folder=folder or Path("/nowhere"))


def other(changed: int) -> str:
    """The text with so many of its last words replaced."""
    return " ".join([*WORDS[: 60 - changed], *WORDS[60 : 60 + changed]])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TEXT, True), (TEXT.upper(), True), (f"{TEXT} 7", True), (other(5), True),
        (other(20), False), (other(60), False), ("", False), (f"{TEXT} b {TEXT}", True),
        (" ".join(reversed(WORDS[:60])), False),
    ],
)  # fmt: skip
def test_two_texts(text: str, found: bool) -> None:
    groups = alike([a_task("one", TEXT), a_task("two", text)])
    assert [group.names for group in groups] == ([("one", "two")] if found else [])


def test_numbers_and_a_tasks_own_name_do_not_count() -> None:
    first = a_task("chore-1", f"{TEXT} in chore-1 by 12 and 3.5 and 1,000")
    second = a_task("chore-22", f"{TEXT} in chore-22 by 7 and 8 and 9")
    assert alike([first, second]) == [Alike(("chore-1", "chore-22"), 1.0)]


def test_the_likeness_is_of_the_least_alike_pair_that_makes_the_group() -> None:
    base, near, nearer = (
        a_task("first", TEXT),
        a_task("second", other(5)),
        a_task("third", other(1)),
    )
    (group,) = alike([near, base, nearer])
    assert group.names == ("first", "second", "third")
    pairs = [alike(pair)[0].likeness for pair in ([base, near], [base, nearer], [near, nearer])]
    assert 0.8 <= min(pairs) == pairs[0] < pairs[1] < 1.0
    # The pair that is the least alike joins none: one of the others has joined them.
    assert group.likeness in sorted(pairs)[:2]


def test_groups_apart_stay_apart_and_equal_tasks_are_one() -> None:
    far = " ".join(WORDS[80:140])
    tasks = [a_task("task-1", TEXT), a_task("task-2", TEXT), a_task("task-3", far),
             a_task("task-4", far)]  # fmt: skip
    assert [group.names for group in alike(tasks)] == [("task-1", "task-2"), ("task-3", "task-4")]
    same = Task(name="task-9", instruction=TEXT, digest="task-1")
    assert alike([tasks[0], same]) == []
    (group,) = alike([tasks[0], same, tasks[1]])
    assert group.names == ("task-1", "task-2")
    assert alike([]) == [] and alike([tasks[0]]) == []


@pytest.mark.parametrize("place", ["environment", "tests", "solution", "other"])
def test_the_files_of_a_task_count(place: str, tmp_path: Path) -> None:
    tasks = []
    for name, words in (("one", WORDS[:60]), ("two", WORDS[70:130])):
        (tmp_path / name / place / "deep").mkdir(parents=True)
        (tmp_path / name / place / "deep" / "a.txt").write_text(" ".join(words))
        tasks.append(a_task(name, "Do what is asked for here.", tmp_path / name))
    assert bool(alike(tasks)) is (place == "other")


def test_only_the_beginning_of_files_counts(tmp_path: Path) -> None:
    tasks = []
    for name, end in (("one", WORDS[:60]), ("two", WORDS[70:130])):
        folder = tmp_path / name / "tests"
        folder.mkdir(parents=True)
        for number in range(2):
            text = TEXT + " " * (16 * 1024 - len(TEXT))
            (folder / f"{number}.txt").write_text(text + " ".join(end))
        (folder / "z.txt").write_text(" ".join(end))  # After 32 KB.
        (folder / "link").symlink_to("z.txt")
        tasks.append(a_task(name, folder=tmp_path / name))
    (group,) = alike(tasks)
    assert group.likeness == 1.0


def test_pictures_are_compared_by_their_bytes(tmp_path: Path) -> None:
    tasks = []
    for name, start in (("one", 0), ("two", 0), ("three", 100)):
        folder = tmp_path / name / "environment"
        folder.mkdir(parents=True)
        content = bytes((start + n * n) % 256 for n in range(2_000))
        (folder / "a.png").write_bytes(b"\0" + content)
        tasks.append(a_task(name, "Say what is in the picture.", tmp_path / name))
    assert [group.names for group in alike(tasks)] == [("one", "two")]


def test_texts_at_the_limit_are_alike_and_those_just_below_are_not() -> None:
    # With another word at the end a text has two other runs of words.
    first = " ".join(WORDS[:26])
    second = " ".join([*WORDS[:25], "other"])
    assert alike([a_task("one", first), a_task("two", second)])[0].likeness == 24 / 28
    found = {}
    for changed in range(1, 8):
        text = " ".join([*WORDS[: 60 - changed], *WORDS[60 : 60 + changed]])
        groups = alike([a_task("one", TEXT), a_task("two", text)])
        found[changed] = groups[0].likeness if groups else None
    kept = {n: (60 - n - 1) / (60 + n + 1) for n in range(1, 8)}
    assert found == {n: share if share >= 0.8 else None for n, share in kept.items()}


def test_many_pairs_that_are_just_alike_enough_are_all_found() -> None:
    tasks = []
    for number in range(20):
        own = [f"{word}q{chr(97 + number)}" for word in WORDS[:60]]
        tasks.append(a_task(f"t{number:02}-a", " ".join(own)))
        tasks.append(a_task(f"t{number:02}-b", " ".join([*own[:56], "z", "x", "y", "w"])))
    found = alike(tasks)
    assert [group.names for group in found] == [(f"t{n:02}-a", f"t{n:02}-b") for n in range(20)]
    assert {group.likeness for group in found} == {55 / 65}


def test_tasks_of_no_words_at_all_are_alike() -> None:
    assert alike([a_task("one", ""), a_task("two", "")]) == [Alike(("one", "two"), 1.0)]
    assert alike([a_task("one", ""), a_task("two", "word")]) == []


def test_what_is_far_apart_is_not_compared_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    share = likeness._share

    def counted(one: frozenset[int], other: frozenset[int]) -> float:
        compared.append(1)
        return share(one, other)

    monkeypatch.setattr(likeness, "_share", counted)
    texts = [" ".join(WORDS[n : n + 25]) for n in range(0, 150, 25)]
    assert not alike([a_task(f"t{n}", text) for n, text in enumerate(texts)]) and not compared
    same = [a_task(f"t{n}", texts[0]) for n in range(3)]
    assert alike(same) and len(compared) == 2, "what is in one group already is not compared"


@pytest.mark.parametrize(
    ("sizes", "at", "seen"),
    [
        # Of each file 16 KB, of a folder 32.
        ([16 * 1024], 16 * 1024 - 5, True),
        ([17 * 1024], 16 * 1024 + 1, False),
        ([16 * 1024, 16 * 1024], 32 * 1024 - 5, True),
        ([16 * 1024, 15 * 1024, 1024], 32 * 1024 - 5, True),
        ([16 * 1024, 15 * 1024, 2048], 32 * 1024 + 1, False),
        ([16 * 1024, 16 * 1024, 1024], 32 * 1024 + 1, False),
    ],
)
def test_how_much_of_a_folder_counts(sizes: list[int], at: int, seen: bool, tmp_path: Path) -> None:
    tasks = []
    for name, word in (("one", "quvz"), ("two", "glim")):
        text = bytearray(b"a " * (sum(sizes) // 2))
        text[at : at + len(word)] = word.encode()
        folder = tmp_path / name / "tests"
        folder.mkdir(parents=True)
        start = 0
        for number, size in enumerate(sizes):
            (folder / f"{number}.txt").write_bytes(bytes(text[start : start + size]))
            start += size
        tasks.append(a_task(name, TEXT, tmp_path / name))
    (group,) = alike(tasks)
    assert (group.likeness < 1.0) is seen


def test_a_link_in_a_folder_does_not_count_and_text_is_read_whatever_it_is(
    tmp_path: Path,
) -> None:
    for name, end in (("one", b"\xff"), ("two", b"\xfe")):
        folder = tmp_path / name / "tests"
        folder.mkdir(parents=True)
        (folder / "a.txt").write_bytes(b"word " + end)
        (tmp_path / f"{name}.txt").write_text(name * 3)
        (folder / "link.txt").symlink_to(tmp_path / f"{name}.txt")
    tasks = [a_task(name, TEXT, tmp_path / name) for name in ("one", "two")]
    assert alike(tasks) == [Alike(("one", "two"), 1.0)]
