"""Makes a workspace that an agent has left harmless for whoever judges it: rights, pipes, links.

The verifier reads the workspace in a container that has the hidden tests too, so a result that is a
link to the expected answer would pass any comparison.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sandboxes.trees import entries_below, make_harmless, shown_name

PROGRAMS = ("/usr/", "/bin/", "/lib/", "/lib64/", "/opt/", "/etc/")
"""Folders of the image that links may lead to, as those of a virtual environment do."""
_MOST_LINKS = 40
"""The most links that the kernel follows in one path."""


def clean_workspace(workspace: Path, workdir: str, *, programs: bool) -> list[str]:
    """Give a workspace its rights back, and only then remove what no judge may meet: pipes,
    sockets, devices, what cannot be read, and links that lead out of it.

    Args:
        workspace: host folder that no other process uses any more.
        workdir: its path in the agent's sandbox and in the verifier's.
        programs: whether links may lead to :data:`PROGRAMS`; not for a verifier on the host.

    Returns:
        The names of what was removed, relative to the workspace and printable, sorted.

    Raises:
        SandboxError: something can neither be read nor removed.
    """
    removed = make_harmless(workspace)
    root = PurePosixPath(workdir)
    links = [Path(entry.path) for entry in entries_below(workspace) if entry.is_symlink()]
    bad = [link for link in links if not _stays(link, workspace, root, programs)]
    for link in bad:
        link.unlink()
    return sorted(removed + [shown_name(str(link.relative_to(workspace))) for link in bad])


def _stays(link: Path, workspace: Path, root: PurePosixPath, programs: bool) -> bool:
    try:
        end = _end(root / link.relative_to(workspace), workspace, root)
    except OSError:  # Its target has a name that no file can have.
        return False
    if end is None or end.is_relative_to(root):
        return end is not None
    return programs and ".." not in end.parts and f"{end}/".startswith(PROGRAMS)


def _end(path: PurePosixPath, workspace: Path, root: PurePosixPath) -> PurePosixPath | None:
    """The end of a path in the sandbox, with links of the workspace resolved as the kernel would;
    None for a loop. Links outside the workspace are not resolved, since they are the image's."""
    done, left, followed = PurePosixPath("/"), list(path.parts[1:]), 0
    while left:
        part = left.pop(0)
        if part == ".." and (done.is_relative_to(root) or root.is_relative_to(done)):
            done = done.parent
            continue
        done /= part
        if not done.is_relative_to(root) or done == root:
            continue
        here = workspace / done.relative_to(root)
        if here.is_symlink():
            followed += 1
            if followed > _MOST_LINKS:
                return None
            target = PurePosixPath(here.readlink())
            done = done.parent
            if target.is_absolute():
                done = PurePosixPath("/")
            left = [part for part in target.parts if part != "/"] + left
    return done
