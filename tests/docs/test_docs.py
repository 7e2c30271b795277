"""Every block of README, CONTRIBUTING and docs/ is run, and what these documents claim is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from skillopt.cli import COMMANDS
from skillopt.config.inputs import initial_skill
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.resources import resource
from skillopt.core.skill import write_skill
from tests.helpers.cells import ALL_CELLS
from tests.helpers.documents import (
    FILES,
    KINDS,
    ROOT,
    Substitution,
    blocks,
    documents,
    run,
)
from tests.helpers.local_model import has_learnt
from tests.helpers.small import small_config, small_set

VENV = Path(sys.prefix)

SIGNED_IN = f"PYTHONPATH={ROOT} python -m tests.helpers.signed_in"
SUBSTITUTIONS = (
    Substitution("README.md", "<this repository>", str(ROOT), "the clone is of this working tree"),
    Substitution("README.md", "<its folder>", ROOT.name, "as the clone is called"),
    Substitution(
        "README.md",
        "make demo",
        f"touch -d @1 pyproject.toml && env -u SKILLOPT_REQUIRE_ENGINE DOCKER_HOST=unix:///nowhere "
        f"PYTHONPATH=. make demo VENV={VENV}",
        "the packages are there already; without an engine, as with one it takes minutes",
    ),
    Substitution(
        "README.md", "pip install .", "python -c 'import skillopt'", "the package is there already"
    ),
    Substitution("README.md", "path/to/tasks", "tasks", "two tasks a split"),
    Substitution("README.md", "path/to/my-skill", "my-skill", "a skill to train"),
    Substitution(
        "README.md", "{kind: anthropic, key_env: ANTHROPIC_API_KEY}", "{kind: sim}", "no key"
    ),
    Substitution("README.md", "{kind: openai, key_env: OPENAI_API_KEY}", "{kind: sim}", "no key"),
    Substitution(
        "README.md", "# or codex, opencode, direct", "\ntrain: {epochs: 1}", "one epoch of four"
    ),
    Substitution("README.md", "claude-sonnet-5", "sim-1", "the simulated model"),
    Substitution("README.md", "gpt-5.5", "sim-1", "the simulated model"),
    Substitution("README.md", "/tmp/chores", "chores", "left behind nowhere else"),
    Substitution(
        "docs/commands/watch.md",
        "skillopt watch my-skill",
        "told 'of 2 tasks' skillopt watch my-skill",
        "it ends with an interrupt",
    ),
    Substitution(
        "docs/commands/watch.md",
        "skillopt watch --deployed",
        "told 'watching the' skillopt watch --deployed",
        "it ends with an interrupt",
    ),
    Substitution(
        "docs/configuration.md",
        "harness: {name: codex,",
        "sandbox: {kind: docker}\nharness: {name: codex,",
        "the reader's config has local processes",
    ),
    Substitution(
        "docs/configuration.md",
        "harness:\n  name: codex\n",
        "sandbox: {kind: docker}\nharness:\n  name: codex\n",
        "the reader's config has local processes",
    ),
    Substitution(
        "docs/commands/ui.md",
        "skillopt ui runs/my-skill",
        "told 'http://' skillopt ui runs/my-skill",
        "it ends with an interrupt",
    ),
    *(
        Substitution(
            document,
            "$ skillopt harvest",
            f"$ skillopt harvest {ROOT}/tests/tasks/drafts/logs/codex-0.171.0-resumed",
            "a session that was kept",
        )
        for document in ("docs/commands/harvest.md", "docs/commands/review.md")
    ),
    Substitution(
        "docs/local-model.md",
        "make demo-local",
        "skillopt demo --local-model",
        "what it runs; the packages are there already",
    ),
    Substitution(
        "docs/scale.md",
        "pip install 'skillopt-harness[ray]'",
        "python -c 'import ray'",
        "the package is there already",
    ),
    Substitution(
        "docs/local-model.md",
        "pip install 'skillopt-harness[local]'",
        "python -c 'import xllamacpp'",
        "the package is there already",
    ),
    Substitution(
        "docs/models.md",
        "openai:gpt-5.5",
        "sim:sim-1 --config my-skill.yaml",
        "the simulated model",
    ),
    Substitution("docs/models.md", "my-upstream:my-model", "sim:sim-1", "the simulated model"),
    Substitution(
        "docs/accounts.md",
        "pip install 'skillopt-harness[chatgpt]'",
        "python -c 'import chatgpt_plan_auth'",
        "the package is there already",
    ),
    Substitution(
        "docs/accounts.md",
        "--model chatgpt:gpt-6-sol",
        "--model sim:sim-1 --config my-skill.yaml",
        "the simulated model",
    ),
    Substitution("docs/accounts.md", "claude setup-token", "true", "nobody has a plan"),
    Substitution(
        "docs/accounts.md",
        "harness: {name: claude-code}",
        "sandbox: {kind: docker}\nharness: {name: claude-code}",
        "the reader's config has local processes",
    ),
    Substitution(
        "docs/commands/logout.md",
        "skillopt logout",
        f"{SIGNED_IN} login chatgpt && {SIGNED_IN} logout",
        "a scripted vendor, and somebody is signed in",
    ),
    *(
        Substitution(document, "skillopt login", f"{SIGNED_IN} login", "a scripted vendor")
        for document in ("docs/accounts.md", "docs/commands/login.md")
    ),
    Substitution(
        "docs/translation.md",
        "{upstream: openai, name: gpt-5.5",
        "{upstream: sim, name: sim-1",
        "the simulated model",
    ),
    Substitution("docs/quickstart.md", "{source: chores}", "{source: tasks}", "two tasks a split"),
    Substitution(
        "docs/ablations.md",
        "-m benchmarks.ablations",
        f"-c 'import sys; sys.path.insert(0, \"{ROOT}\"); import benchmarks.ablations'",
        "the runs take half an hour",
    ),
)


AFTERWARDS: dict[str, Callable[[Path], None]] = {"docs/local-model.md": has_learnt}
"""What has to be so in the folder once a document's blocks have run."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it: tasks, a skill, a config, and a run that has been trained."""
    folder = tmp_path_factory.mktemp("prepared")
    small_set(folder).rename(folder / "tasks")
    start = initial_skill(load_config(resource("configs") / "quickstart/local.yaml", Config))
    assert start is not None
    write_skill(replace(start, name="my-skill"), folder / "my-skill")
    (folder / "small").symlink_to("tasks")
    paths = {"tasks.source": "tasks", "skill.init": "my-skill", "runs": "runs"}
    config = small_config(folder, name="my-skill", **paths)
    text = yaml.safe_dump(config.model_dump(mode="json", exclude_none=True))
    (folder / "my-skill.yaml").write_text(text)
    (folder / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        [sys.executable, "-m", "skillopt", "train", "my-skill.yaml"], cwd=folder, timeout=100
    )
    assert done.returncode == 0
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """The same, for one document."""
    shutil.copytree(prepared, tmp_path / "work", symlinks=True)
    return tmp_path / "work"


@pytest.fixture
def reader(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody with the project installed, and a home of their own."""
    (tmp_path / "home").mkdir(exist_ok=True)
    own = {"CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"}
    return {k: v for k, v in os.environ.items() if k not in own} | {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        # Git refuses what belongs to somebody else, as a checkout in CI may.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def substituted(document: str, text: str) -> str:
    for one in SUBSTITUTIONS:
        if one.document == document:
            text = text.replace(one.text, one.by)
    return text


NEEDS = {
    "engine": "codex|claude-code|doctor|images",
    "weights": r"demo-local|--local-model|\[local\]|smollm2",
}
"""By marker: words in the blocks of a document that needs it."""
LONG = {"docs/local-model.md", "docs/commands/agents.md"}
"""Documents whose blocks train with a real language model, or try an agent as another test does."""


def with_marks(document: str) -> object:
    text = "".join(block.text for block in blocks(document))
    marks = [getattr(pytest.mark, name) for name, words in NEEDS.items() if re.search(words, text)]
    if document in LONG:
        marks.append(pytest.mark.skipif(not ALL_CELLS, reason="takes minutes: make test-all"))
    return pytest.param(document, marks=marks)


RUN = [with_marks(document) for document in documents() if any(blocks(document))]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "document", [with_marks(name) for name in documents() if any(blocks(name))]
)
def test_every_block_runs(document: str, folder: Path, reader: dict[str, str]) -> None:
    for block in blocks(document):
        if block.title or block.language != "text":
            run(block, substituted(document, block.text), folder, reader)
    if document in AFTERWARDS:
        AFTERWARDS[document](folder)


def test_every_block_is_of_a_kind_that_is_run() -> None:
    found = [block for document in documents() for block in blocks(document)]
    assert len(found) >= 10
    for block in found:
        allowed = FILES if block.title else (*KINDS, "text")
        assert block.language in allowed, f"{block}: not run: give it another language or a title"
        assert not (block.language == "text" and "$ " in block.text), f"{block}: a command"


def test_there_are_no_blocks_that_are_not_found() -> None:
    """Blocks with tildes, by indentation, or with unusual fences would go unrun."""
    for document in documents():
        text = (ROOT / document).read_text("utf-8")
        assert text.count("```") == 2 * len(list(blocks(document))), document
        assert "~~~" not in text, document


def test_every_substitution_is_needed() -> None:
    for one in SUBSTITUTIONS:
        assert any(one.text in block.text for block in blocks(one.document)), one


def test_the_switches_exist_with_their_defaults(tmp_path: Path) -> None:
    """Every key of the table of parts is one of the config."""
    document = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    section = document.partition("## The algorithm")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)[2:]
    assert len(cells) >= 12
    text = next(block.text for block in blocks("README.md") if block.language == "yaml")
    (tmp_path / "my-skill.yaml").write_text(text)
    for cell in cells:
        section_name = ""
        for code in re.findall(r"`([^`]+)`", cell):
            code = code.replace("…", "9")
            if "." in code.partition(":")[0]:
                section_name = code.partition(".")[0]
            value = yaml.safe_load(code)
            if not isinstance(value, dict):
                continue
            ((key, content),) = value.items()
            if "." not in key and section_name:
                key = f"{section_name}.{key}"
            elif key == "mix":
                key = "gate.mix"
            load_config(tmp_path / "my-skill.yaml", Config, {key: content})


def test_every_command_is_in_the_table_and_no_other() -> None:
    table = (ROOT / "docs" / "commands" / "index.md").read_text("utf-8")
    assert set(re.findall(r"^\| \[`skillopt (\w+)", table, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("document", documents())
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / document).parent / target).exists(), target
