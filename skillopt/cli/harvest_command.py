"""``skillopt harvest``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import moment, output, show_text

if TYPE_CHECKING:
    from harnesses.base import ModelSpec
    from skillopt.config.prices import Prices
    from skillopt.config.upstreams import UpstreamConfig
    from skillopt.tasks.drafts.drafts import Draft, Harvest
    from skillopt.tasks.drafts.requests import Request
    from skillopt.tasks.drafts.sessions import Session

AGENTS = {"codex": ("CODEX_HOME", ".codex"), "claude-code": ("CLAUDE_CONFIG_DIR", ".claude")}
"""The agents whose logs are read, with the variable and the folder of each."""


@click.command("harvest")
@click.argument("places", nargs=-1, metavar="[LOG]...", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("drafts"),
              show_default=True, help="The folder of drafts.")  # fmt: skip
@click.option("--agent", "agents", multiple=True, type=click.Choice(list(AGENTS)),
              help="Read the sessions of this agent. [default: both]")  # fmt: skip
@click.option("--project", type=click.Path(path_type=Path),
              help="Only sessions in this folder or below it.")  # fmt: skip
@click.option("--skill", default="", metavar="NAME",
              help="The skill of trigger queries. [default: the one that was opened]")  # fmt: skip
@click.option("--corrected", is_flag=True, help="Only requests that were corrected.")
@click.option("--after", metavar="TIME", help="Only what was said after this date, time or age.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True,
              help="The most drafts; the newest requests come first.")  # fmt: skip
@click.option("--model", metavar="UPSTREAM:NAME", help="Have a model write the drafts better.")
@click.option("--config", metavar="CONFIG", help="The config with the model's upstream.")
@click.option("--yes", is_flag=True, help="Send to the model without asking first.")
@click.option("--dry-run", is_flag=True, help="Print what was found; write and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(
    places: tuple[Path, ...],
    out: Path,
    agents: tuple[str, ...],
    project: Path | None,
    skill: str,
    corrected: bool,
    after: str | None,
    limit: int,
    model: str | None,
    config: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make drafts of tasks from sessions with Codex and Claude Code.

    LOG is a session's log or a folder of logs; by default those of this user. Secrets are taken
    out, and nothing leaves this machine unless a model is named. 'skillopt review' then goes
    through the drafts; none is used before.
    """
    from skillopt.cli.model_check import named_model
    from skillopt.tasks.drafts.drafts import harvest
    from skillopt.tasks.drafts.redaction import Redactor
    from skillopt.tasks.drafts.requests import requests_in

    if (config or yes) and not model:
        raise click.UsageError("--config and --yes are for --model UPSTREAM:NAME; name the model")
    if skill and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", skill):
        raise click.UsageError(f"--skill {skill}: no name of a skill: small letters, digits and -")
    sessions = _sessions(places, agents or tuple(AGENTS))
    found, short = requests_in(sessions)
    chosen = _chosen(found, project, corrected, after)[:limit]
    if dry_run:
        _print_found(sessions, found, chosen, short, as_json)
        return
    if model and not yes and not sys.stdin.isatty():
        raise click.UsageError("--model sends texts to a service; add --yes to do so unasked")
    named = named_model(model, config) if model else None
    done = harvest(chosen, out, Redactor(), skill)
    left = _write_with_model(done.new, out, named, yes, as_json) if named else {}
    _print_done(sessions, found, short, done, out, left, as_json)


def _sessions(places: Sequence[Path], agents: Sequence[str]) -> list[Session]:
    """The sessions in the logs that were named, or in those of this user's agents."""
    from skillopt.tasks.drafts import claude_log, codex_log
    from skillopt.tasks.drafts.sessions import logs, whole_sessions
    from skillopt.tasks.harbor import TaskError

    readers = {
        "codex": (codex_log.PATTERN, codex_log.read_codex),
        "claude-code": (claude_log.PATTERN, claude_log.read_claude),
    }
    found: list[Session | None] = []
    searched: list[str] = []
    for agent in agents:
        pattern, read = readers[agent]
        if places:
            files = [file for place in places for file in _named(place)]
        else:
            variable, own = AGENTS[agent]
            home = Path(os.environ.get(variable) or Path.home() / own)
            searched.append(str(home / pattern))
            files = logs(home, pattern)
        found += [read(file) for file in files]
    whole = whole_sessions(session for session in found if session is not None)
    if not whole:
        looked = ", ".join(searched or [str(place) for place in places])
        raise TaskError(f"no session of {' or '.join(agents)} in {looked}; name a log or a folder")
    return whole


def _named(place: Path) -> list[Path]:
    from skillopt.tasks.drafts.sessions import logs
    from skillopt.tasks.harbor import TaskError

    if place.is_file():
        return [place]
    if not place.is_dir():
        raise TaskError(f"{place}: no such file or folder; name a log or a folder of logs")
    return logs(place, "**/*.jsonl")


def _chosen(
    found: Iterable[Request], project: Path | None, corrected: bool, after: str | None
) -> list[Request]:
    """The requests that the options ask for, newest first."""
    from datetime import UTC, datetime

    since = moment(after, "--after")
    least = datetime.fromtimestamp(since, UTC).isoformat() if since is not None else ""
    root = project.expanduser().absolute() if project else None
    chosen = [
        request
        for request in found
        if (not corrected or request.corrections)
        and request.turn.at >= least
        and (root is None or Path(request.session.folder or "/").is_relative_to(root))
    ]
    return sorted(chosen, key=lambda request: request.turn.at, reverse=True)


def _write_with_model(
    drafts: Sequence[Draft],
    out: Path,
    named: tuple[Mapping[str, UpstreamConfig], Prices, ModelSpec],
    yes: bool,
    as_json: bool,
) -> dict[str, str]:
    """Have a model write new drafts; returns those that it did not, with the reason."""
    from skillopt.config.prices import cost_text
    from skillopt.evaluation.draft_writer import tokens_of, write_with_model
    from skillopt.tasks.drafts.drafts import write_draft

    upstreams, prices, spec = named
    service = upstreams[spec.upstream]
    if not drafts:
        return {}
    address = getattr(service, "base_url", None) or service.kind
    told = (
        f"{len(drafts)} requests with their corrections, without secrets, about "
        f"{tokens_of(drafts):,} tokens, go to {spec.name} at {address}; no files"
    )
    if yes:
        click.echo(told, err=True)
    elif not click.confirm(f"{told}. Send them?", err=True):
        return {draft.name: "not sent" for draft in drafts}
    usage, left = write_with_model(
        drafts, service, prices, spec, lambda draft: write_draft(draft, out)
    )
    if not as_json:
        click.echo(f"{spec.name} wrote {len(drafts) - len(left)} drafts: {cost_text(usage)}")
    return left


def _print_found(
    sessions: Sequence[Session],
    found: Sequence[Request],
    chosen: Sequence[Request],
    short: int,
    as_json: bool,
) -> None:
    from skillopt.core.files import to_json
    from skillopt.tasks.drafts.redaction import Redactor

    clean = Redactor().text
    rows = [
        {
            "request": clean(request.turn.text),
            "corrections": [clean(turn.text) for turn in request.corrections],
            "accepted": request.accepted,
            "skills": list(request.skills),
            "files": [clean(file) for file in request.files],
            "agent": request.session.agent,
            "at": request.turn.at,
            "folder": clean(request.session.folder),
        }
        for request in chosen
    ]
    if as_json:
        counts = {"sessions": len(sessions), "requests": len(found), "too_short": short}
        click.echo(to_json({"format": 1, **counts, "chosen": rows}), nl=False)
        return
    for row in rows:
        first = str(row["request"]).splitlines()[0][:90]
        show_text(output(), f"{str(row['at'])[:16]} {row['agent']}: {first}")
    click.echo(_counts(sessions, found, short))


def _counts(sessions: Sequence[Session], found: Sequence[Request], short: int) -> str:
    left_out = f"; {short} more say too little to stand alone" if short else ""
    return f"{len(sessions)} sessions with {len(found)} requests{left_out}"


def _print_done(
    sessions: Sequence[Session],
    found: Sequence[Request],
    short: int,
    done: Harvest,
    out: Path,
    left: dict[str, str],
    as_json: bool,
) -> None:
    from skillopt.core.files import to_json

    if as_json:
        written = {
            "format": 1,
            "folder": str(out),
            "sessions": len(sessions),
            "requests": len(found),
            "too_short": short,
            "new": [draft.name for draft in done.new],
            "known": done.known,
            "redacted": done.redacted,
            "not_written_by_model": left,
        }
        click.echo(to_json(written), nl=False)
        return
    click.echo(_counts(sessions, found, short))
    for draft in done.new:
        said = f"{len(draft.corrections)} corrections, accepted: {draft.accepted_then}"
        show_text(output(), f"{draft.name}: {said}")
    for name, kept in done.workspaces.items():
        without = f", without {', '.join(kept.left_out[:5])}" if kept.left_out else ""
        show_text(output(), f"workspaces/{name}: {kept.files} files{without}")
    for name, why in left.items():
        show_text(
            output(), f"{name}: not written by the model: {why}; remove its folder to try again"
        )
    known = f", {len(done.known)} were there" if done.known else ""
    show_text(
        output(),
        f"{len(done.new)} new drafts in {out}{known}; {done.redacted} secrets were taken out. "
        f"Go through them: skillopt review {out}",
    )
