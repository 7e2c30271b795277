"""What each agent loads is what its rules say, for every odd shape of ``SKILL.md``: the real
programs are started on them, and list what they offer to their model."""

from __future__ import annotations

from pathlib import Path

import pytest

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from skillopt.core.skill import Skill, for_agents, read_skill, write_skill
from skillopt.core.skill_rules import not_loaded, not_offered
from skillopt.deploy.proof import conversations
from skillopt.sim.prompt import listed_skills

pytestmark = pytest.mark.engine
HEAD = "---\nname: {name}\ndescription: It is {name}.\n"
SHAPES = {
    "plain": "# A title\n\nText.\n",
    "empty-front": "---\n---\n\n# A title\n",
    "no-description": "---\nname: {name}\n---\n\n# A title\n",
    "null-description": "---\nname: {name}\ndescription:\n---\n\n# A title\n",
    "list-description": "---\nname: {name}\ndescription: [a, b]\n---\n\n# A title\n",
    "number-description": "---\nname: {name}\ndescription: 5\n---\n\n# A title\n",
    "boolean-description": "---\nname: {name}\ndescription: true\n---\n\n# A title\n",
    "folded-description": "---\nname: {name}\ndescription: >\n  It is\n  folded.\n---\n# A title\n",
    "long-description": "---\nname: {name}\ndescription: " + 1300 * "d" + "\n---\n\n# A title\n",
    "dashes": "---\nname: {name}\ndescription: a --- b\n---\n\n# A title\n",
    "no-name": "---\ndescription: No name.\n---\n\n# A title\n",
    "number-name": "---\nname: 123\ndescription: A number.\n---\n\n# A title\n",
    "other-name": "---\nname: Other Name\ndescription: Other.\n---\n\n# A title\n",
    "long-name": "---\nname: " + 100 * "n" + "\ndescription: Long.\n---\n\n# A title\n",
    "twice-description": HEAD + "description: Another.\n---\n\n# A title\n",
    "twice-license": HEAD + "license: a\nlicense: b\n---\n\n# A title\n",
    "text-metadata": HEAD + "metadata: text\n---\n\n# A title\n",
    "own-keys": HEAD + "version: 1.0\neffort: high\nhooks:\n  Stop:\n    - a: b\n---\n# A title\n",
    "list-value": HEAD + "allowed-tools:\n- Read\n- Bash(git:*)\n---\n# A title\n",
    "anchors": "---\nname: {name}\ndescription: &d It is.\nother: *d\n---\n\n# A title\n",
    "flow": "---\n{{name: {name}, description: It is.}}\n---\n\n# A title\n",
    "disabled": HEAD + "disable-model-invocation: true\n---\n\n# A title\n",
    "crlf": (HEAD + "---\n\n# A title\n").replace("\n", "\r\n"),
    "byte-order-mark": "\ufeff" + HEAD + "---\n\n# A title\n",
    "control": HEAD + "---\n\n# A title \x1b[2J\x0c\n",
    "spaces": HEAD.replace("---", "--- ", 1) + "--- \n# A title\n",
    "no-body": HEAD + "---\n",
    "usual": HEAD + "---\n\n# A title\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "project").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home" / "project")
    return tmp_path


def read(name: str, file: str, below: Path) -> Skill:
    (below / name).mkdir(parents=True)
    text = SHAPES[name] if name in SHAPES else HEAD + "---\n# A title\n"
    shown = text.replace("{{", "{").replace("}}", "}").replace("{name}", name)
    (below / name / file).write_bytes(shown.encode())
    return read_skill(below / name)


@pytest.mark.parametrize("agent", CLI_AGENTS)
def test_an_agent_loads_what_its_rules_say(agent: str, home: Path) -> None:
    skills = [read(name, "SKILL.md", home / "as-they-are") for name in SHAPES]
    skills.append(read("lower-case", "skill.md", home / "as-they-are"))
    place = agent_kind(agent).folders.here() / "skills"
    place.mkdir(parents=True)
    for skill in skills:
        write_skill(for_agents(skill), place / skill.folder)
    shown = conversations(agent, frozenset(("nobody",)))
    assert not isinstance(shown, str), shown
    offered = {skill.name for conversation in shown for skill in listed_skills(conversation)}
    expected = {s.folder: not not_loaded(s, agent) and not not_offered(s, agent) for s in skills}
    found = {s.folder: bool({s.folder, s.name} & offered) for s in skills}
    assert found == expected
