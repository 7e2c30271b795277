"""Kinds of projects: by which files they are known, what their tests are, how these are run.

A new kind is one more entry of :data:`KINDS`, with a reader of its reports in
``inside/run_tests.py`` if none of those there fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skillopt.tasks.repository.dependencies import files_named, node_needs, package, python_needs
from skillopt.tasks.tables import TaskError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PY_ENV = {
    "PATH": f"/opt/venv/bin:{_PATH}",
    "PYTHONPATH": "{project}:{project}/src",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Plan:
    """How the tests of some files are run.

    Args:
        command: program and arguments; ``{report}`` stands for a file that they may write.
        report: how what they say is read, see ``inside/run_tests.py``.
    """

    command: tuple[str, ...]
    report: str


@dataclass(frozen=True)
class Kind:
    """A kind of project.

    Args:
        name: of it.
        manifests: files at the root of which it has one.
        tests: pattern of the paths of test files, and of what they need beside them.
        code: endings of files of code.
        settings: pattern of the names of files that decide how tests run; an agent's own are
            replaced by those of the commit, or removed.
        packages: Debian's packages with its tools.
        needs: what is copied for the installation of dependencies, by name, from the project.
        install: shell commands that install these, in the folder with ``needs``.
        env: variables of the tests; ``{project}`` stands for the folder in which they run.
        plan: how test files are run, from the project and the paths.
    """

    name: str
    manifests: tuple[str, ...]
    tests: re.Pattern[str]
    code: tuple[str, ...]
    settings: re.Pattern[str]
    packages: tuple[str, ...]
    needs: Callable[[Path], Mapping[str, str]]
    install: tuple[str, ...]
    env: Mapping[str, str]
    plan: Callable[[Path, Sequence[str]], Plan]

    def is_test(self, path: str) -> bool:
        """Whether a path is a test file's, or of what tests need."""
        return self.tests.search(path) is not None

    def is_code(self, path: str) -> bool:
        """Whether a path is a file of code that is no test."""
        return path.endswith(self.code) and not self.is_test(path)

    def is_setting(self, path: str) -> bool:
        """Whether a path is of a file that decides how tests run."""
        return self.settings.fullmatch(path.rpartition("/")[2]) is not None


def find_kind(names: Sequence[str], wanted: str = "") -> Kind:
    """The kind of a project.

    Args:
        names: of the files at its root.
        wanted: name of the kind; empty for the first of which it has a manifest.

    Raises:
        TaskError: there is no such kind, or no manifest of any.
    """
    if wanted:
        found = next((kind for kind in KINDS if kind.name == wanted), None)
        if found is None:
            raise TaskError(f"--kind {wanted}: is none of {', '.join(k.name for k in KINDS)}")
        return found
    for kind in KINDS:
        if set(kind.manifests) & set(names):
            return kind
    every = ", ".join(name for kind in KINDS for name in kind.manifests)
    raise TaskError(f"no file at its root says how its tests are run ({every}); use --kind")


def _pytest(project: Path, files: Sequence[str]) -> Plan:
    run = [path for path in files if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", path)]
    options = ("-q", "-p", "no:cacheprovider", "--junitxml={report}", "-o", "junit_family=xunit2")
    return Plan(("python3", "-m", "pytest", *options, *run), "junit")


def _node(project: Path, files: Sequence[str]) -> Plan:
    content = package(project)
    named = {**content.get("dependencies", {}), **content.get("devDependencies", {})}
    run = [path for path in files if re.search(r"\.[cm]?[jt]sx?$", path)]
    if "vitest" in named:
        options = ("run", "--reporter=json", "--outputFile={report}")
        return Plan(("vitest", *options, *run), "jest")
    if "jest" in named:
        return Plan(("jest", "--ci", "--json", "--outputFile={report}", *run), "jest")
    if "mocha" in named:
        return Plan(("mocha", "--reporter", "json", *run), "mocha")
    return Plan(("node", "--test", "--test-reporter=tap", *run), "tap")


def _go(project: Path, files: Sequence[str]) -> Plan:
    folders = sorted({f"./{path.rpartition('/')[0]}".rstrip("/") for path in files})
    return Plan(("go", "test", "-json", "-count=1", *folders), "go")


def _cargo(project: Path, files: Sequence[str]) -> Plan:
    names = [re.fullmatch(r"tests/([^/]+)\.rs", path) for path in files]
    only = [part for found in names if found for part in ("--test", found[1])]
    return Plan(("cargo", "test", "--offline", "--no-fail-fast", *only), "cargo")


def _make(project: Path, files: Sequence[str]) -> Plan:
    for name in ("Makefile", "makefile", "GNUmakefile"):
        if (project / name).is_file():
            text = (project / name).read_text("utf-8", "replace")
            for target in ("test", "check", "tests"):
                if re.search(rf"^{target}\s*:", text, re.MULTILINE):
                    return Plan(("make", "-s", target), "code")
    raise TaskError(f"{project}: its Makefile has no target test, check or tests")


KINDS = (
    Kind(
        name="python",
        manifests=("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini"),
        tests=re.compile(r"(^|/)tests?/|(^|/)test_[^/]*\.py$|_test\.py$|(^|/)conftest\.py$"),
        code=(".py", ".pyx"),
        settings=re.compile(
            r"conftest\.py|pytest\.ini|\.pytest\.ini|tox\.ini|setup\.cfg|sitecustomize\.py|"
            r"usercustomize\.py|.*\.pth"
        ),
        packages=("python3-venv",),
        needs=python_needs,
        install=(
            "python3 -m venv /opt/venv",
            "/opt/venv/bin/pip install --no-cache-dir -r requirements.txt",
        ),
        env=_PY_ENV,
        plan=_pytest,
    ),
    Kind(
        name="node",
        manifests=("package.json",),
        tests=re.compile(
            r"(^|/)(tests?|__tests__|spec|__snapshots__|__mocks__)/|\.(test|spec)\.[cm]?[jt]sx?$"
        ),
        code=(".js", ".cjs", ".mjs", ".ts", ".jsx", ".tsx", ".cts", ".mts"),
        settings=re.compile(r"(jest|vitest|vite|babel)\.config\..*|\.mocharc.*|\.babelrc.*"),
        packages=("nodejs", "npm"),
        needs=node_needs,
        install=(  # Where the resolution of modules ends.
            "cp package*.json / && cd / && npm install --ignore-scripts --no-audit --no-fund",
        ),
        env={
            "PATH": f"/node_modules/.bin:{_PATH}",
            "CI": "true",
        },
        plan=_node,
    ),
    Kind(
        name="go",
        manifests=("go.mod",),
        tests=re.compile(r"_test\.go$|(^|/)testdata/"),
        code=(".go",),
        settings=re.compile(r"go\.work"),
        packages=("golang-go",),
        needs=files_named("go.mod", "go.sum"),
        install=("go mod download",),
        env={
            "GOMODCACHE": "/opt/go",
            "GOCACHE": "/tmp/go-build",
            "GOFLAGS": "-mod=mod",
            "CGO_ENABLED": "0",
        },
        plan=_go,
    ),
    Kind(
        name="rust",
        manifests=("Cargo.toml",),
        tests=re.compile(r"(^|/)tests/"),
        code=(".rs",),
        settings=re.compile(r"\.cargo|rustfmt\.toml"),
        packages=("cargo",),
        needs=files_named("Cargo.toml", "Cargo.lock"),
        install=("mkdir -p src && touch src/lib.rs src/main.rs", "cargo fetch"),
        env={"CARGO_HOME": "/opt/cargo", "CARGO_TARGET_DIR": "/tmp/target"},
        plan=_cargo,
    ),
    Kind(
        name="make",
        manifests=("Makefile", "makefile", "GNUmakefile"),
        tests=re.compile(r"(^|/)(tests?|spec)/|(^|/)test[^/]*\.(sh|c|cc|cpp|py|pl|bats)$"),
        code=(".c", ".h", ".cc", ".cpp", ".hpp", ".sh", ".py", ".pl", ".lua", ".awk", ".rb"),
        settings=re.compile(r"(GNUm|M|m)akefile"),
        packages=("build-essential",),
        needs=files_named(),
        install=(),
        env={},
        plan=_make,
    ),
)
"""The kinds that are known; a project is of the first of which it has a manifest."""
