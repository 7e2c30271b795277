"""Links that lead out of a workspace are taken away; the kernel says which do."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.tasks.links import PROGRAMS, clean_workspace

parts = st.sampled_from(["..", ".", "a", "b", "c", "d", "out", "ws", "", "usr"])
targets = st.builds(
    lambda start, names: start + "/".join(names),
    st.sampled_from(["", "", "/", "HERE/", "TOP/"]),
    st.lists(parts, min_size=1, max_size=5),
)


@given(links=st.dictionaries(st.sampled_from(["a", "b", "c", "d/e", "d/f"]), targets, max_size=5))
def test_what_is_left_leads_nowhere_else(links: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder).resolve()
        workspace = top / "ws"
        (workspace / "d").mkdir(parents=True)
        (top / "out").mkdir()
        (top / "out" / "a").write_text("secret")
        for name, target in links.items():
            target = target.replace("HERE", str(workspace)).replace("TOP", str(top))
            (workspace / name).symlink_to(target or ".")
        # The kernel cannot tell where what leads nowhere would end. What comes back by way of some
        # other folder may be removed: what that is in an image is not known.
        there = [name for name in links if (workspace / name).exists()]
        plain = [name for name in there if not _wanders(workspace / name, workspace)]
        inside = {name for name in plain if _stays(workspace / name, workspace)}
        removed = clean_workspace(workspace, str(workspace), programs=False)
        assert not inside & set(removed)
        for name in set(links) - set(removed):
            assert _stays(workspace / name, workspace) or not (workspace / name).exists()


def _wanders(link: Path, workspace: Path, depth: int = 0) -> bool:
    """Whether a link's way leads through a folder that is neither in the workspace nor above it."""
    here = Path("/") if link.readlink().is_absolute() else link.parent
    for part in link.readlink().parts:
        here = here / part
        if here.is_symlink() and depth < 10 and _wanders(here, workspace, depth + 1):
            return True
        here = Path(os.path.realpath(here))
        if not (here.is_relative_to(workspace) or workspace.is_relative_to(here)):
            return True
    return False


def _stays(link: Path, workspace: Path) -> bool:
    end = os.path.realpath(link)
    return end == str(workspace) or end.startswith(f"{workspace}/")


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("given.txt", True),
        ("/app/given.txt", True),
        ("../app/given.txt", True),
        ("/usr/bin/python3", True),
        ("../usr/bin/python3", True),
        ("/tests/expected.txt", False),
        ("../tests/expected.txt", False),
        ("/usr/../tests/expected.txt", False),
        ("/proc/self/root/tests/expected.txt", False),
        ("/dev/fd/3", False),
        ("/", False),
        ("loop", False),
        # Two dots within the workspace lead to where they would lead there.
        ("sub/../given.txt", True),
        ("sub/../../tests/expected.txt", False),
        ("sub/deep/../../../tests", False),
        ("sub/../../app/given.txt", True),
        ("/app/../app/sub/..", True),
        # Those outside lead by links of the image, which are not known.
        ("/usr/lib/../bin/python3", False),
        ("/usr", True),
        ("/usrx/a", False),
        ("/etc/passwd", True),
        ("/opt/tool", True),
        ("/bin", True),
        ("/lib/x", True),
        ("/lib64/x", True),
        ("/home/x", False),
        ("n" * 300, False),
    ],
)
def test_links_to_programs_may_stay_but_not_for_a_verifier_on_this_machine(
    tmp_path: Path, target: str, stays: bool
) -> None:
    for programs in (True, False):
        (tmp_path / "loop").symlink_to(target)
        removed = clean_workspace(tmp_path, "/app", programs=programs)
        outside = target.removeprefix("..").startswith(PROGRAMS) or target in ("/usr", "/bin")
        expected = stays and (programs or not outside)
        assert removed == ([] if expected else ["loop"])
        (tmp_path / "loop").unlink(missing_ok=True)


@pytest.mark.parametrize(("links", "stays"), [(40, True), (41, False)])
def test_a_path_may_lead_over_as_many_links_as_the_kernel_follows(
    links: int, stays: bool, tmp_path: Path
) -> None:
    for number in range(links):
        (tmp_path / f"l{number:02}").symlink_to(f"l{number + 1:02}")
    (tmp_path / f"l{links:02}").touch()
    assert (tmp_path / "l00").exists() is stays
    removed = clean_workspace(tmp_path, "/app", programs=True)
    assert removed == ([] if stays else ["l00"])


def test_what_is_removed_is_named_in_order_with_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "z").symlink_to("/tests")
    (tmp_path / "b\n").symlink_to("/tests")
    os.mkfifo(tmp_path / "c")
    (tmp_path / "kept").symlink_to("sub")
    removed = clean_workspace(tmp_path, "/app", programs=True)
    assert len(removed) == 3 and removed == sorted(removed)
    assert removed[1:] == ["c", "sub/z"] and "\n" not in removed[0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "sub"]


@pytest.mark.slow
def test_a_tree_of_any_depth_is_walked_and_removed(tmp_path: Path) -> None:
    from sandboxes.trees import remove_tree

    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for depth in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if depth == 1000:
            os.symlink("/tests", "link", dir_fd=here)
    os.close(here)
    deep, link = sorted(clean_workspace(top, "/app", programs=True), key=len, reverse=True)
    assert (link, set(deep)) == ("d/" * 1001 + "link", {"d", "/"})  # The rest had no path.
    with pytest.raises(RecursionError):
        shutil.rmtree(top)
    remove_tree(top)
    assert not top.exists()
    remove_tree(top)
