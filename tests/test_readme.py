"""The README is true: its config is valid, its commands and options exist, its links lead on."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import yaml

from skillopt.cli import COMMANDS, main
from skillopt.config import Config
from skillopt.yaml_config import load_config
from tests.small import small_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_config_is_valid(tmp_path: Path) -> None:
    text, starts, *others = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "my-skill.yaml").write_text(text)
    config = load_config(tmp_path / "my-skill.yaml", Config)
    assert (config.train.epochs, config.train.batch_size) == (4, 40)
    for line in starts.strip().splitlines():
        changed = re.sub(r"skill: .*", line.replace("…", "chores").strip(), textwrap.dedent(text))
        (tmp_path / "other.yaml").write_text(changed)
        assert load_config(tmp_path / "other.yaml", Config).skill.name == "my-skill"
    for other in others:
        load_config(tmp_path / "my-skill.yaml", Config, yaml.safe_load(other))


def test_the_switches_exist_with_their_defaults(tmp_path: Path) -> None:
    """Every key of the table of parts is one of the config."""
    section = README.partition("### The algorithm")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)[2:]
    assert len(cells) >= 12
    text = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
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


def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    config = small_config(tmp_path).model_dump(mode="json", exclude_none=True)
    (tmp_path / "my-skill.yaml").write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "1 accept" in done.stdout and "1.0 [Estimate(value=" in done.stdout


def test_every_command_and_option_of_the_console_examples_exists() -> None:
    lines = re.findall(r"^\s*\$ (?:\.venv/bin/)?skillopt (.*)$", README, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        name, *arguments = shlex.split(line)
        command = importlib.import_module(f"skillopt.cli.{name}_command").command
        if isinstance(command, click.Group):
            command = command.commands[arguments.pop(0)]
        # Parsing only: whatever does not exist is a usage error.
        command.make_context(name, arguments, parent=click.Context(main))


def test_every_command_is_in_the_table_and_no_other() -> None:
    assert set(re.findall(r"^\| `skillopt (\w+)", README, re.MULTILINE)) == set(COMMANDS)


def test_links_to_files_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
