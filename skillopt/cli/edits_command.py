"""``skillopt edits``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, run_argument, show_text, warn_of_network

if TYPE_CHECKING:
    from skillopt.core.types import Split
    from skillopt.evaluation.scoring import Row
    from skillopt.training.accepted_edits import AcceptedEdit, Rebuilt


@click.command("edits")
@run_argument
@click.option("--without", "name", metavar="STEP.N", help="Make the best skill without one edit.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="With --without: writes FOLDER/NAME."
)
@click.option("--score", is_flag=True, help="With --without: score it beside the best skill.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True
)
@click.option("--replicates", type=click.IntRange(1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(
    run: Path,
    name: str | None,
    out: Path | None,
    score: bool,
    split: str,
    replicates: int,
    as_json: bool,
) -> None:
    """List the edits in a RUN's best skill, or take one out and score the rest.

    RUN is a run's folder, or its name below ``runs``. Scoring uses the run's own config, and runs
    what is not in the store yet.
    """
    from skillopt.core.skill import write_skill
    from skillopt.run.journal import read_records
    from skillopt.training.accepted_edits import accepted_edits, without

    records = read_records(run)
    if name is None:
        if out or score:
            raise click.UsageError("name the edit to take out: --without STEP.N")
        _list(accepted_edits(records), as_json)
        return
    if not out and not score:
        raise click.UsageError(
            "say what to do with it: -o FOLDER writes it there, --score scores it"
        )
    made = without(records, name)
    if out:
        out = out / made.skill.folder
        out.parent.mkdir(parents=True, exist_ok=True)
        write_skill(made.skill, out)
    rows = _score(run, made, name, cast("Split", split), replicates) if score else []
    _print(made, name, out, rows, as_json)


def _list(edits: list[AcceptedEdit], as_json: bool) -> None:
    if as_json:
        rows = [{"name": one.name, **asdict(one.edit)} for one in edits]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for one in edits:
        body = one.edit.content or f"delete {one.edit.target!r}"
        show_text(output(), f"{one.name} {one.edit.kind}\n  {body}\n  why: {one.edit.reason}")
    if not edits:
        show_text(output(), "no edit was accepted")


def _score(run: Path, made: Rebuilt, name: str, split: Split, replicates: int) -> list[Row]:
    """The best skill, and the one without the edit, as the run would score them."""
    from skillopt.cli.progress import Display
    from skillopt.config.inputs import read_skill_or_run
    from skillopt.config.schema import Config
    from skillopt.evaluation.evaluate import evaluate
    from skillopt.run.folder import read_state

    created = read_state(run)[0].created
    assert created is not None, "read_state refuses a run without records"
    config = Config.model_validate({**created.config, "runs": run.absolute().parent})
    warn_of_network(config)
    skills = {"best": read_skill_or_run(run), f"without {name}": made.skill}
    with Display() as display:
        return evaluate(config, skills, split=split, replicates=replicates, listeners=[display])


def _print(made: Rebuilt, name: str, out: Path | None, rows: list[Row], as_json: bool) -> None:
    from skillopt.cli.tables import print_details, print_scores
    from skillopt.core.files import to_json

    dropped = [one.name for one in made.dropped]
    if as_json:
        told: dict[str, Any] = {"without": name, "dropped": dropped, "skill": made.skill.text}
        click.echo(to_json({**told, "scores": [row.to_json() for row in rows]}), nl=False)
        return
    for one in dropped:
        show_text(output(), f"edit {one} does not apply without {name}, and is left out too")
    if out:
        show_text(output(), f"wrote {out}")
    if rows:
        print_scores(output(), rows, f"the best skill, and without edit {name}")
        print_details(output(), rows)
