// What each step did: its decision, its edits and what led to them.

function entriesView(run, number, chosen, go, openRollout) {
  if (!run.entries.length) return [note("No step is done yet.")];
  const found = run.entries.findIndex((e) => e.name === chosen);
  const index = found < 0 ? run.entries.length - 1 : found;
  const entry = run.entries[index];
  const list = h("nav", { class: "list", "aria-label": "steps" }, run.entries.map((e, i) => h("button", {
    class: `item ${e.action}`, "aria-current": i === index, click: () => go("steps", e.name) },
  h("b", {}, e.name), ` ${actionWord(e.action)}`, e.gate ? ` ${judgedScore(e.gate)}` : "",
  e.skipped && h("span", { class: "why" }, e.skipped))));
  return [h("div", { class: "split" }, list, h("div", {}, entryDetail(run, number, entry, openRollout)))];
}

function judgedScore(gate) {
  const after = gate.after === null ? `≤ ${percent(gate.bound)}` : percent(gate.after);
  return `${percent(gate.before)} → ${after}`;
}

function entryDetail(run, number, entry, openRollout) {
  const remarks = run.remarks.filter((remark) => remark.about === entry.name);
  let applied = 0;
  const edits = entry.edits.map((outcome) => {
    if (outcome.applied) applied += 1;
    const mayGo = outcome.applied && entry.action === "accept" && /^(step|edits of step)/.test(entry.name);
    return [editCard(outcome), mayGo && withoutButton(number, `${entry.step}.${applied}`)];
  });
  return [
    h("h2", {}, entry.name, " ", h("span", { class: `badge ${entry.action}` }, actionWord(entry.action))),
    entry.gate ? gateFacts(run, entry, openRollout) : unjudged(entry),
    entry.noted.length > 0 && section("Notes", h("ul", {}, entry.noted.map((text) => h("li", {}, text)))),
    entry.rollout && note(`Training batch: ${share(entry.rollout)}${run.word === "solved" ? " solved" : ` ${run.word}`} by the skill that the step began with. `
      + `${entry.proposed} edits proposed, ${entry.applied} applied (budget ${entry.budget ?? "none"}), ${entry.refused} refused.`),
    entry.race && note(raceLine(entry.race)),
    entry.length && note(`The whole skill in fewer words: about ${entry.length[0]} tokens before, ${entry.length[1]} after.`),
    entry.pairs && pairFacts(entry.pairs),
    section("What changed", diff(entry.diff)),
    entry.edits.length > 0 && section("Edits", edits),
    entry.verdicts?.length > 0 && section("Left out in turn", h("ul", {}, entry.verdicts.map(verdictLine))),
    (remarks.length > 0 || store.review) && section("Remarks", remarks.map((remark) => remarkCard(run, number, remark)),
      remarkForm(number, { about: entry.name }, ["good", "bad"])),
    section("What led to it", entry.replies.map(replyCard),
      entry.replies.length ? null : note("The optimizer was not asked.")),
    entry.notes && section("The optimizer's own notes (meta skill)", h("pre", {}, entry.notes)),
    entry.optimizer_errors.length > 0 && section("Optimizer calls that failed", h("ul", {}, entry.optimizer_errors.map((e) => h("li", {}, e)))),
    note(Object.entries(entry.seconds).map(([stage, v]) => `${stage} ${duration(v)}`).join(" · ")),
  ];
}

/** How the candidates of a step ran against each other. */
function raceLine(race) {
  const lanes = race.gains.map((gain, i) => `candidate ${i + 1}: ${gain >= 0 ? "+" : "−"}${Math.abs(gain).toFixed(2)} on `
    + `${plural(race.tasks[i], "task")}, ${race.ended[i] || "judged by the gate"}`);
  return `Race of ${race.candidates} candidates, ${plural(race.rollouts, "rollout")}: ${lanes.join("; ")}.`;
}

/** Why the gate decided nothing. */
function unjudged(entry) {
  if (entry.action === "off") return note("There is no slow update in this run.");
  return h("div", { class: "facts" }, h("p", {}, entry.skipped ? `Nothing to judge: ${entry.skipped}` : "No edit was left to judge."));
}

function gateFacts(run, entry, openRollout) {
  const { gate } = entry;
  const name = run.parts.gate ? `Gate (${run.parts.gate})` : "Gate";
  const measured = [`${gate.evaluated} of ${plural(gate.total, "selection task")}`,
    gate.rollouts !== gate.evaluated && `${plural(gate.rollouts, "rollout")} of the candidate`,
    gate.remeasured > 0 && `${plural(gate.remeasured, "new rollout")} of the current skill`].filter(Boolean).join(", ");
  const chips = (tasks, word) => tasks.length > 0 && h("p", {}, `${word} ${tasks.length}: `,
    tasks.map((task) => taskChip(run, entry.selection, task, openRollout)));
  return h("div", { class: "facts" },
    h("p", {}, `${name}: ${gate.reason} (${measured}).`),
    chips(gate.fixed, "Fixed"), chips(gate.broken, "Broke"));
}

function taskChip(run, use, task, openRollout) {
  const index = run.rollouts.use.findIndex((u, i) => u === use && run.rollouts.task[i] === task);
  if (index < 0) return h("span", { class: "chip" }, run.tasks[task].name);
  return h("button", { class: "chip", click: () => openRollout(index) }, run.tasks[task].name);
}

function pairFacts(pairs) {
  const counts = {};
  for (const change of Object.values(pairs)) counts[change] = (counts[change] || 0) + 1;
  return note("Compared tasks: ", Object.entries(counts).map(([change, n]) => `${n} ${change}`).join(", "));
}

function editCard(outcome) {
  const { edit } = outcome;
  return h("article", { class: `card ${outcome.applied ? "applied" : "refused"}` },
    h("h3", {}, edit.kind.replace("_", " "), edit.file ? ` in ${edit.file}` : "", ` · ${outcome.applied ? "applied" : "refused"}`,
      edit.support > 1 ? ` · proposed ${edit.support} times` : ""),
    edit.target && h("pre", { class: "old" }, edit.target),
    edit.content && h("pre", { class: "new" }, edit.content),
    edit.reason && h("p", {}, "Why: ", edit.reason),
    !outcome.applied && h("p", {}, "Refused: ", outcome.reason));
}

/** What was measured of an edit in its company. */
function verdictLine(verdict) {
  const named = verdict.edits.map((edit) => `${edit.kind.replace("_", " ")} ${edit.content || edit.target}`).join("; ");
  return h("li", {}, `${named}: ${percent(verdict.score_with)} with, ${percent(verdict.score_without)} without, on `
    + `${plural(verdict.tasks, "task")} beside ${plural(verdict.company, "other edit")}`);
}

/** What the optimizer made of some rollouts: kinds of failure, patterns, reasoning; all of it below. */
function replyCard(reply) {
  const { value } = reply;
  const kinds = (value?.failure_types || []).map((type) => `${type.name} × ${type.count}`);
  const patterns = value?.patterns || [];
  return h("article", { class: "card" }, h("h3", {}, `${reply.stage}: ${reply.about}`, reply.error && " (failed)"),
    reply.error && h("p", {}, reply.error),
    kinds.length > 0 && h("p", {}, "Failures: ", kinds.join(", ")),
    patterns.length > 0 && h("p", {}, "Patterns: ", patterns.map((p) => (typeof p === "string" ? p : `${p.name} × ${p.count}`)).join("; ")),
    value?.reasoning && h("p", {}, value.reasoning),
    value !== null && h("details", {}, h("summary", {}, "the whole reply"), h("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2))));
}

/** The rejected-edit memory, with the harm that was measured. */
function memoryView(run, go) {
  if (!run.memory.length) return [note("The gate has rejected nothing.")];
  return run.memory.map((entry) => h("section", {},
    h("h2", {}, h("button", { class: "link", click: () => go("steps", rejectedIn(run, entry)) }, `Step ${entry.step}`)),
    h("p", {}, `${percent(entry.score_before)} ${entry.removed ? "without" : "before"}, at most ${percent(entry.score_after)} with these edits`,
      entry.broken.length ? `; got worse: ${entry.broken.join(", ")}` : "; no single task got worse", "."),
    entry.edits.map((edit) => editCard({ edit, applied: true }))));
}

function rejectedIn(run, entry) {
  const found = run.entries.find((e) => e.rejected && e.step === entry.step
    && JSON.stringify(e.rejected.edits) === JSON.stringify(entry.edits))
    || run.entries.find((e) => e.step === entry.step);
  return found ? found.name : "";
}
