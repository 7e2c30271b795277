// What came of a run, and what it cost.

function overview(run, go, openFailed) {
  const steps = run.entries.some((e) => "applied" in e);
  return [
    verdict(run),
    failureList(run, openFailed),
    changeList(run),
    run.curve.length > 0 && section("Scores", scoreChart([run], (name) => go("steps", name)),
      note("Selection split, 95 % intervals. ", h("b", {}, "●"), " accepted, ", h("b", {}, "✕"),
        " rejected, ", h("b", {}, "↧"), " rejected early: the arrow hangs from the most it could have scored."),
      testTable(run)),
    steps && section("Learning rate", scheduleChart(run), note("Line: how many edits a step may make. Bars: edits that were applied.")),
    section("Cost", costTable(run)),
    run.noted.length > 0 && section("Notes", h("ul", {}, run.noted.map((n) => h("li", {}, n.text, " ", h("span", { class: "note" }, moment(n.at)))))),
  ];
}

function verdict(run) {
  const test = run.test.best;
  const judged = run.entries.filter((e) => e.gate);
  const accepted = judged.filter((e) => e.action === "accept").length;
  const parts = [];
  if (run.initial_score !== null) {
    const total = run.tasks.filter((t) => t.split === "val").length;
    parts.push(h("p", { class: "big" },
      h("b", {}, `${percent(run.initial_score)} → ${percent(run.best_score)}`), ` on ${plural(total, "selection task")}`));
  }
  if (test) {
    const gain = test.gain ? `, ${points(test.gain)} points over the initial skill` : "";
    const what = run.word === "solved" ? ` of ${plural(test.tasks, "held-out task")} solved`
      : ` ${run.word} on ${plural(test.tasks, "held-out task")}`;
    parts.push(h("p", { class: "big" }, h("b", {}, share(tested(test))), `${what}${gain}`));
  }
  if (run.said) parts.push(h("p", { class: `claim ${run.claim ? run.claim.verdict.replace(" ", "-") : "none"}` }, run.said));
  if (judged.length) {
    parts.push(note(`${accepted} of ${plural(judged.length, "judged change")} accepted. Selection scores of `
      + "accepted changes are flattering, as they were chosen by these scores; trust the held-out ones."));
  }
  parts.push(activation(run), ownParts(run), h("p", { class: "doing" }, doing(run)));
  return h("div", { class: "verdict" }, parts);
}

/** What the run is doing, in words. */
function doing(run) {
  const last = run.last ? ` Last event: ${moment(run.last)}.` : "";
  const unscored = run.initial_score === null ? " No score yet: the initial skill has not been scored on the selection split." : "";
  switch (run.state) {
    case "done": return `Done: ${run.stopped}`;
    case "stopped": return `Not done: ${run.stopped}${unscored && `\n${unscored.trim()}`}`;
    case "killed": return `Not done: its process was killed${run.now ? ` in ${standing(run)}` : ""}; the same command resumes it.${unscored}${last}`;
    case "running": return `Running: ${run.now ? standing(run) : "starting"}.${unscored}${last}`;
    default: return `Not started: nothing has been run yet.${last}`;
  }
}

function standing(run) {
  const { now } = run;
  const of = (n, all) => (all >= n ? `${n} of ${all}` : n);
  const at = now.step ? `epoch ${of(now.epoch, run.epochs)}, step ${of(now.step, run.steps_planned)}, ${now.stage}` : now.stage;
  return now.total ? `${at} (${now.done} of at most ${now.total})` : at;
}

/** Whether agents open the skill, as long as the table of the test split does not say so. */
function activation(run) {
  const seen = run.rollouts.opened.filter((opened) => opened >= 0);
  if (!seen.length || Object.keys(run.test).length) return null;
  const opened = percent(seen.filter(Boolean).length / seen.length);
  return [note(`The skill was opened in ${opened} of ${plural(seen.length, "rollout")}.`), opened === percent(0) && hint(UNOPENED)];
}

const hint = (text) => h("p", { class: "hint" }, text);

function ownParts(run) {
  const parts = Object.entries(run.parts).map(([part, name]) => `${part}: ${name}`);
  return parts.length > 0 && note(`Set up with ${parts.join(" · ")}`);
}

/** Rollouts that were never scored, each with its reason; below, those that succeeded later. */
function failureList(run, open) {
  if (!run.failures.length) return null;
  const card = (failure) => h("article", { class: "card refused" },
    h("h3", {}, h("button", { class: "link", "data-failed": failure.key, click: () => open(failure) }, failure.task),
      ` · ${failure.stage} · `, h("code", {}, failure.key.slice(0, 16)), failure.attempts > 1 && ` · ${failure.attempts} attempts`),
    failure.reasons.map((reason) => h("pre", {}, reason)));
  const cards = (list) => [list.slice(0, CARDS).map(card), list.length > CARDS
    && h("details", {}, h("summary", {}, `${count(list.length - CARDS)} more`), list.slice(CARDS).map(card))];
  const left = run.failures.filter((f) => !f.over);
  const over = run.failures.filter((f) => f.over);
  return section("Failed for infrastructure",
    note(left.length ? `${plural(left.length, "rollout")} failed for infrastructure and ${left.length === 1 ? "is" : "are"} not scored. `
      + "The run tries again what it still needs." : "All rollouts that failed have succeeded since."),
    cards(left),
    over.length > 0 && h("details", {}, h("summary", {}, `${plural(over.length, "rollout")} failed at first and succeeded later`), cards(over)));
}

const CARDS = 20;

/** With which other inputs the run was resumed. */
function changeList(run) {
  const when = (after) => (after ? `after step ${after}` : "before the end of step 1");
  return run.changes.length > 0 && section("Inputs changed", run.changes.map((changed) => [
    note(`${when(changed.after)}, ${moment(changed.at)}`),
    h("ul", {}, changed.changes.map(([key, old, now]) => h("li", {}, h("code", {}, key), `: ${setting(old)} → ${setting(now)}`)))]));
}

/** How well a skill was opened where the tasks say whether it should be. */
function openings(role, { precision, recall, calls }) {
  const said = (name, e) => (e ? `${name} ${share(e)}` : `no ${name}`);
  return `${role}: openings: ${said("precision", precision)}, ${said("recall", recall)}, ${calls.toFixed(1)} model calls a rollout`;
}

function testTable(run) {
  const roles = Object.entries(run.test);
  if (!roles.length) return null;
  const unopened = roles.some(([, t]) => t.skill_activated !== null && percent(t.skill_activated) === percent(0));
  return [table(["held-out test", run.word, "gain, points", "opened"], roles.map(([role, t]) => row(role, share(tested(t)),
    t.gain ? points(t.gain) : "", t.skill_activated === null ? "" : percent(t.skill_activated)))),
  ...roles.filter(([, t]) => t.opening).map(([role, t]) => hint(openings(role, t.opening))), unopened && hint(UNOPENED)];
}

function costTable(run) {
  const stages = Object.entries(run.spent.stages);
  const largest = Math.max(0, ...stages.map(([, v]) => v.tokens));
  const line = (name, v) => row(name, count(v.rollouts), tokens(v.tokens), bar(v.tokens, largest), money(v.usd, v.included), duration(v.seconds));
  return [table(["stage", "rollouts", "tokens", "", "cost", "time"],
    [...stages.map(([name, v]) => line(name, v)), line("all", run.spent)], { class: "numbers" }),
  note("Rollouts that were really run; what came from the rollout store was free."),
  ...Object.entries(run.spent.plans || {}).map(([name, windows]) => note(`Plan of ${name}: ${windows.map(windowOfPlan).join(", ")}.`))];
}

/** Several runs beside each other. */
function comparison(runs, choose) {
  const line = (run, i) => {
    const { initial, best } = run.test;
    return h("tr", {}, [
      h("button", { class: `link run${i}`, click: () => choose(i) }, run.name), run.state, run.harness, run.target,
      `${run.steps}`, run.initial_score === null ? "" : `${percent(run.initial_score)} → ${percent(run.best_score)}`,
      initial ? share(tested(initial)) : "", best ? share(tested(best)) : "",
      best && best.gain ? points(best.gain) : "", run.claim ? run.claim.verdict : "", tokens(run.spent.tokens), money(run.spent.usd, run.spent.included),
    ].map((c) => h("td", {}, c)));
  };
  return [
    section("Runs side by side", table(["run", "state", "harness", "model", "steps", "selection", "test, initial", "test, best",
      "gain, points", "verdict", "tokens", "cost"], runs.map(line), { class: "numbers" })),
    section("Scores", scoreChart(runs, () => {}), note("Selection score of the current skill, by step.")),
  ];
}
