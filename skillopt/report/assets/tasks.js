// Which task was solved when: a heat map of tasks by evaluations.

const SPLITS = { val: "selection", train: "training", test: "test" };

/** Columns of a split: each evaluation; of the training split each epoch, in which every task
 * comes once. */
function heatColumns(run, split) {
  const columns = new Map();
  run.uses.forEach((use, number) => {
    if (use.split !== split) return;
    const entry = run.entries.find((e) => e.batch === number);
    const name = split === "train" && entry ? `epoch ${entry.epoch}` : use.name.replace(", gate", "").replace("slow update, epoch", "slow update")
      .replace("current skill again", "current");
    if (!columns.has(name)) columns.set(name, new Set());
    columns.get(name).add(number);
  });
  return [...columns];
}

function tasksView(run, chosen, go, openRollout) {
  const split = chosen in SPLITS || chosen === "cost" ? chosen : "val";
  const buttons = Object.entries({ ...SPLITS, cost: "cost by task" }).map(([name, word]) => h("button", {
    class: "chip", "aria-pressed": String(name === split), click: () => go("tasks", name) }, word));
  if (split === "cost") return [h("p", {}, buttons), ...costByTask(run)].filter(Boolean);
  return [h("p", {}, buttons), heatMap(run, split, openRollout),
    note(h("span", { class: "swatch solved" }), " solved ", h("span", { class: "swatch partial" }), " partly ",
      h("span", { class: "swatch failed" }), " failed; empty: not run. A task that was run several times is partly solved if the runs differ. Arrow keys move, Enter opens the trajectory.")];
}

function heatMap(run, split, openRollout) {
  const columns = heatColumns(run, split);
  const tasks = run.tasks.map((t, i) => [t, i]).filter(([t]) => t.split === split)
    .sort(([a], [b]) => a.family.localeCompare(b.family) || a.name.localeCompare(b.name));
  if (!columns.length) return note("Nothing of this split has been run yet.");
  const column = new Map(columns.flatMap(([, uses], c) => [...uses].map((u) => [u, c])));
  const found = new Map();
  run.rollouts.use.forEach((use, i) => {
    const name = `${run.rollouts.task[i]}/${column.get(use)}`;
    if (column.has(use)) found.set(name, [...(found.get(name) || []), i]);
  });
  const cell = (task, c) => {
    const indices = found.get(`${task}/${c}`);
    if (!indices) return h("td", {});
    const [kind, word] = outcomes(run, indices);
    return h("td", { class: kind, tabindex: -1, "data-index": indices[0], "data-all": indices, title: `${run.tasks[task].name}, ${columns[c][0]}: ${word}` },
      kind === "partial" ? "·" : "");
  };
  let family = null;
  const body = tasks.flatMap(([task, number]) => {
    const line = h("tr", {}, h("th", { scope: "row" }, task.name), columns.map((_, c) => cell(number, c)));
    if (task.family === family) return [line];
    family = task.family;
    return [h("tr", { class: "family" }, h("th", { scope: "rowgroup", colspan: columns.length + 1 }, family || "tasks")), line];
  });
  return h("div", { class: "scroll heat" }, h("table", {
    click: (e) => openCell(e.target, openRollout), keydown: (e) => moveInMap(e, openRollout), tabindex: 0, "aria-label": "tasks by evaluation" },
  h("thead", {}, h("tr", {}, h("th", {}, "task"), columns.map(([name]) => h("th", { scope: "col" }, h("span", {}, name))))),
  h("tbody", {}, body)));
}

function openCell(target, openRollout) {
  const cell = target.closest("td[data-index]");
  if (!cell) return;
  const all = cell.dataset.all.split(",").map(Number);
  openRollout(all[0], all.length > 1 ? all : null);
}

function moveInMap(event, openRollout) {
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (event.key === "Enter") openCell(event.target, openRollout);
  if (!(event.key in moves)) return;
  event.preventDefault();
  const rows = [...event.currentTarget.tBodies[0].rows].filter((r) => !r.classList.contains("family"));
  const at = event.target.closest("td");
  if (!at) { rows[0].querySelector("td[data-index]")?.focus(); return; }
  const [down, right] = moves[event.key];
  let [r, c] = [rows.indexOf(at.parentElement) + down, at.cellIndex + right];
  while (rows[r] && rows[r].cells[c] && c > 0) {
    if (rows[r].cells[c].dataset.index) { rows[r].cells[c].focus(); return; }
    [r, c] = [r + down, c + right];
  }
}
