// What came of a run, and what it cost.

function overview(run, go) {
  return [
    verdict(run),
    section("Scores", scoreChart([run], (name) => go("steps", name)),
      note("Selection split, 95 % intervals. ", h("b", {}, "●"), " accepted, ", h("b", {}, "✕"),
        " rejected, ", h("b", {}, "↧"), " rejected early: the arrow hangs from the most it could have scored."),
      testTable(run)),
    section("Learning rate", scheduleChart(run), note("Line: how many edits a step may make. Bars: edits that were applied.")),
    section("Cost", costTable(run)),
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
    parts.push(h("p", { class: "big" }, h("b", {}, share(test.hard)), ` of ${plural(test.tasks, "held-out task")} solved${gain}`));
    const low = test.gain && test.gain.low;
    if (test.gain && low <= 0) parts.push(note("The interval of the gain includes 0: this run does not show that the skill got better."));
  }
  parts.push(note(`${accepted} of ${plural(judged.length, "judged change")} accepted. Selection scores of `
    + "accepted changes are flattering, as they were chosen by these scores; trust the held-out ones."));
  if (!run.done) parts.push(note(run.stopped ? `Not done: ${run.stopped}` : `Running: ${standing(run)}`));
  return h("div", { class: "verdict" }, parts);
}

function standing(run) {
  if (!run.now) return "starting";
  return run.now.step ? `epoch ${run.now.epoch} of ${run.epochs}, step ${run.now.step}, ${run.now.stage}` : run.now.stage;
}

function testTable(run) {
  const roles = Object.entries(run.test);
  if (!roles.length) return null;
  return table(["held-out test", "solved", "gain, points", "opened"], roles.map(([role, t]) => row(role, share(t.hard),
    t.gain ? points(t.gain) : "", t.skill_activated === null ? "" : percent(t.skill_activated))));
}

function costTable(run) {
  const stages = Object.entries(run.spent.stages);
  const largest = Math.max(0, ...stages.map(([, v]) => v.tokens));
  const line = (name, v) => row(name, count(v.rollouts), tokens(v.tokens), bar(v.tokens, largest), money(v.usd), duration(v.seconds));
  return [table(["stage", "rollouts", "tokens", "", "cost", "time"],
    [...stages.map(([name, v]) => line(name, v)), line("all", run.spent)], { class: "numbers" }),
  note("Rollouts that were really run; what came from the rollout store was free.")];
}

/** Several runs beside each other. */
function comparison(runs, choose) {
  const line = (run, i) => {
    const { initial, best } = run.test;
    return h("tr", {}, [
      h("button", { class: `link run${i}`, click: () => choose(i) }, run.name), run.harness, run.target,
      `${run.steps}`, run.initial_score === null ? "" : `${percent(run.initial_score)} → ${percent(run.best_score)}`,
      initial ? share(initial.hard) : "", best ? share(best.hard) : "",
      best && best.gain ? points(best.gain) : "", tokens(run.spent.tokens), money(run.spent.usd),
    ].map((c) => h("td", {}, c)));
  };
  return [
    section("Runs side by side", table(["run", "harness", "model", "steps", "selection", "test, initial", "test, best",
      "gain, points", "tokens", "cost"], runs.map(line), { class: "numbers" })),
    section("Scores", scoreChart(runs, () => {}), note("Selection score of the current skill, by step.")),
  ];
}
