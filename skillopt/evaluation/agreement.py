"""How far a judge agrees with people: Cohen's kappa with an interval, and its record.

The record stands beside the file of labels, and names the judge and the labels that it is of.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnesses.base import Usage
from skillopt.config.loading import ConfigError
from skillopt.config.prices import cost_text
from skillopt.config.schema import Config
from skillopt.core.errors import FileError
from skillopt.core.files import digest_of, read_json, to_json, write_atomic
from skillopt.core.types import Rollout, Task
from skillopt.evaluation.stats import Estimate, rate
from skillopt.rollouts.catalogue import Filter, open_store, stored
from skillopt.rollouts.identity import work_of
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.labels import Label, LabelsError, read_labels
from skillopt.rollouts.judge.verdicts import NOT_ASKED
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.rollouts.rejudge import rejudge
from skillopt.rollouts.runner import RolloutRunner

_Z = 1.959963984540054


@dataclass(frozen=True)
class Agreement:
    """How often two agree on yes or no.

    Args:
        both: how often both say yes.
        first: how often only the first does.
        second: how often only the second does.
        neither: how often neither does.
    """

    both: int
    first: int
    second: int
    neither: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Agreement:
        """The agreement in pairs of verdicts."""
        found = list(pairs)
        return cls(*(found.count(pair) for pair in (
            (True, True), (True, False), (False, True), (False, False)
        )))  # fmt: skip

    @property
    def total(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def agreed(self) -> int:
        """How often they say the same."""
        return self.both + self.neither

    @property
    def _shares(self) -> tuple[float, float]:
        """The share of agreement, and that of chance."""
        n = self.total
        first, second = (self.both + self.first) / n, (self.both + self.second) / n
        return self.agreed / n, first * second + (1 - first) * (1 - second)

    @property
    def kappa(self) -> Estimate | None:
        """Cohen's kappa (1960): the agreement beyond that of chance, 1 for all and 0 for none. None
        if both always say the same single thing, so that chance alone explains all.

        The interval is the wider one of two at each end: that of the standard error, and the exact
        one of the share of agreement with that of chance held fixed, which does not shrink to a
        point if all agree.
        """
        error = self.standard_error
        if error is None:
            return None
        agreed, chance = self._shares
        value = (agreed - chance) / (1 - chance)
        exact = rate(self.agreed, self.total)
        least = 0.0 if exact.low is None else exact.low
        most = 1.0 if exact.high is None else exact.high
        low = min(value - _Z * error, (least - chance) / (1 - chance))
        high = max(value + _Z * error, (most - chance) / (1 - chance))
        return Estimate(value, max(low, -1.0), min(high, 1.0))

    @property
    def standard_error(self) -> float | None:
        """Of kappa in large samples (Fleiss, Cohen and Everitt 1969); None without kappa."""
        n = self.total
        if not n or (chance := self._shares[1]) >= 1.0:
            return None
        kappa = (self._shares[0] - chance) / (1 - chance)
        cells = ((self.both / n, self.first / n), (self.second / n, self.neither / n))
        rows = [sum(row) for row in cells]
        columns = [sum(column) for column in zip(*cells, strict=True)]
        on = sum(cells[i][i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in (0, 1))
        off = sum(
            cells[i][j] * (columns[i] + rows[j]) ** 2 for i in (0, 1) for j in (0, 1) if i != j
        )
        whole = on + (1 - kappa) ** 2 * off - (kappa - chance * (1 - kappa)) ** 2
        return math.sqrt(max(whole, 0.0) / n) / (1 - chance)


@dataclass(frozen=True)
class CheckedJudge:
    """A judge compared with people's labels.

    Args:
        model: name of the judge's model.
        agreement: people first, the judge second.
        differing: where they differ, in words.
        not_judged: labels that could not be compared, with the reason.
        usage: what the judge has cost.
    """

    model: str
    agreement: Agreement
    differing: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
    usage: Usage = Usage()

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it, and as it is recorded."""
        kappa = self.agreement.kappa
        return {
            "model": self.model,
            "labels": self.agreement.total,
            "agreed": self.agreement.agreed,
            "only_people": self.agreement.first,
            "only_judge": self.agreement.second,
            "kappa": vars(kappa) if kappa else None,
            "differing": list(self.differing),
            "not_judged": list(self.not_judged),
        }

    @property
    def cost(self) -> str:
        """What the judge has cost, in one line."""
        tokens = self.usage.prompt_tokens + self.usage.completion_tokens
        return f"judge: {tokens:,} tokens, {cost_text(self.usage)}"

    @property
    def words(self) -> str:
        """The result in one line."""
        found, kappa = self.agreement, self.agreement.kappa
        same = f"{self.model} agrees with {found.agreed} of {found.total} labels"
        if not found.total:
            return f"{self.model}: no label could be compared"
        if kappa is None:
            return f"{same}; kappa cannot be computed, as all verdicts are the same"
        return f"{same}: kappa {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"


def check_judge(config: Config, file: Path, plugins: Plugins = Plugins()) -> CheckedJudge:
    """Judge the labelled rollouts of the store, as far as that is not done yet, compare the
    verdicts with the labels, and record the result beside them.

    Args:
        config: names judge, tasks and store.
        file: with labels, see :mod:`skillopt.rollouts.judge.labels`.
        plugins: objects that replace what the config names.

    Raises:
        ConfigError: the config has no judge.
        LabelsError: a label cannot be read, or is of nothing that is stored.
    """
    labels = read_labels(file)
    prepared = prepare(config, plugins=plugins)
    if prepared.judge is None:
        raise ConfigError("judge: the config names none; add judge: {upstream: …, name: …}")
    tasks = {task.name: task for split in prepared.splits.values() for task in split}
    store = stored(open_store(config.runs), Filter())
    chosen = [_rollout(label, store) for label in labels]
    with prepared.runner(lambda event: None) as runner:
        found = _judged(runner, list({one.key: one for one in chosen}.values()), tasks)
    pairs, differing, skipped = [], [], []
    for label, rollout in zip(labels, chosen, strict=True):
        after, problem = found[rollout.key]
        verdict = _verdict(label, after) if after is not None else None
        if verdict is None:
            skipped.append(f"{label.where}: {rollout.task.name}: {problem or NOT_ASKED}")
            continue
        pairs.append((label.met, verdict[0]))
        if label.met != verdict[0]:
            said = "met" if verdict[0] else "unmet"
            differing.append(f"{label.where}: {rollout.task.name}: {verdict[1]}: judge: {said}")
    usages = [one.judgement.usage for one, _ in found.values() if one and one.judgement]
    checked = CheckedJudge(
        prepared.judge.model.name,
        Agreement.of(pairs),
        tuple(differing),
        tuple(skipped),
        Usage.total(usages),
    )
    _record(file, prepared.judge, checked)
    return checked


def _rollout(label: Label, store: Sequence[Rollout]) -> Rollout:
    """The stored rollout that a label is of; of several with the same work, the newest."""
    found = [
        rollout
        for rollout in store
        if rollout.key.startswith(label.rollout) and label.task in ("", rollout.task.name)
    ]
    works = {work_of(rollout.identity): rollout for rollout in found}
    if len(works) == 1:
        return next(iter(works.values()))
    named = label.rollout or label.task
    if not works:
        raise LabelsError(f"{label.where}: {named}: no such rollout is stored")
    raise LabelsError(
        f"{label.where}: {named}: {len(works)} rollouts are stored; name one by rollout: "
        f"{', '.join(sorted(one.key[:12] for one in works.values())[:3])} …"
    )


def _judged(
    runner: RolloutRunner, rollouts: Sequence[Rollout], tasks: Mapping[str, Task]
) -> dict[str, tuple[Rollout | None, str]]:
    """Each rollout as the config's judge judges it, or why it is not judged; by its key."""
    done: dict[str, tuple[Rollout | None, str]] = {}
    own = runner.prepared.judge
    for rollout in rollouts:
        known = rollout.identity.get("harness", {}).get("judge")
        task = tasks.get(rollout.task.name)
        same = task is not None and rollout.identity.get("task") == task.digest
        if rollout.judgement and own and same and known == own.to_json():
            kept = rollout.judgement.model_copy(update={"usage": Usage()})
            done[rollout.key] = rollout.model_copy(update={"judgement": kept}), ""
    left = [rollout for rollout in rollouts if rollout.key not in done]
    for one in rejudge(runner, left, tasks):
        done[one.before.key] = one.after, one.problem
    return done


def _verdict(label: Label, rollout: Rollout) -> tuple[bool, str] | None:
    """The judge's verdict on the expectation of a label, with its words; None if it has none."""
    if rollout.judgement is None or not rollout.judgement.expectations:
        return None
    found = rollout.judgement.expectations
    texts = [" ".join(one.expectation.split()) for one in found]
    wanted = " ".join(label.expectation.split())
    if wanted in texts:
        one = found[texts.index(wanted)]
    elif wanted.isdecimal() and 1 <= int(wanted) <= len(found):
        one = found[int(wanted) - 1]
    else:
        known = "; ".join(f"{number}: {text}" for number, text in enumerate(texts, start=1))
        raise LabelsError(
            f"{label.where}: expectation: {wanted!r} is none of {rollout.task.name}: {known}"
        )
    return one.met, one.expectation


def record_of(labels: Path) -> Path:
    """The file with the recorded agreement on some labels."""
    return labels.with_name(f"{labels.name}.agreement.json")


def _record(labels: Path, judge: JudgeSpec, checked: CheckedJudge) -> None:
    told = {"format": 1, "judge": digest_of(judge.to_json()), "of": _digest(labels)}
    write_atomic(record_of(labels), to_json(told | checked.to_json()))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def told_of_judge(config: Config, judge: JudgeSpec) -> str:
    """What is known of how far a judge agrees with people, in one line.

    Raises:
        ConfigError: it is less than the config wants, or not known.
        FormatError: the record is of another version.
    """
    assert config.judge is not None, "a config with a judge has a section for it"
    labels, least = config.judge.labels, config.judge.least_agreement
    if labels is None:
        return (
            f"judge: {judge.model.name} is unchecked: it was never compared with people's "
            "verdicts (judge.labels, docs/your-tasks-judged.md)"
        )
    measured = _measured(labels, judge)
    kappa = measured["kappa"] if measured else None
    if least is None:
        known = f"kappa {kappa['value']:.2f} with people" if kappa else "not compared with people"
        return f"judge: {judge.model.name}: {known}, and nothing is asked of it"
    way_out = f"run 'skillopt tasks judge CONFIG --labels {labels}'"
    if measured is None:
        raise ConfigError(
            f"judge.labels: {labels}: this judge has not been compared with these labels: "
            f"{way_out} first, or set judge.least_agreement: null"
        )
    if kappa is None or kappa["value"] < least:
        found = f"is {kappa['value']:.2f}" if kappa else "cannot be computed"
        raise ConfigError(
            f"judge.least_agreement: {least:g}: the kappa of {judge.model.name} with {labels} "
            f"{found}: change judge.prompt or judge.name and {way_out} again, lower it, or set it "
            "to null"
        )
    return (
        f"judge: {judge.model.name} agrees with {measured['agreed']} of {measured['labels']} "
        f"labels of people: kappa {kappa['value']:.2f} ({kappa['low']:.2f} to {kappa['high']:.2f})"
    )


def _measured(labels: Path, judge: JudgeSpec) -> dict[str, Any] | None:
    """The recorded agreement of this judge with these labels; None if there is none."""
    if not labels.is_file():
        raise FileError(f"judge.labels: {labels}: no such file")
    file = record_of(labels)
    if not file.is_file():
        return None
    found = read_json(file, format=1)
    same = (digest_of(judge.to_json()), _digest(labels)) == (found.get("judge"), found.get("of"))
    return found if same else None
