// All rollouts that counted, with filters; a page of them at a time.

const PAGE_ROWS = 100;
const NO_FILTER = { text: "", outcome: "", use: "", opened: "", page: 0 };

function matching(run, filter) {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (let i = 0; i < run.rollouts.key.length; i += 1) {
    const task = run.tasks[run.rollouts.task[i]];
    const label = `${task.name} ${task.family} ${run.rollouts.key[i]}`.toLowerCase();
    if (filter.use !== "" && run.rollouts.use[i] !== Number(filter.use)) continue;
    if (filter.outcome && outcome(run, i)[0] !== filter.outcome) continue;
    if (filter.opened !== "" && run.rollouts.opened[i] !== Number(filter.opened)) continue;
    if (words.every((word) => label.includes(word))) found.push(i);
  }
  return found;
}

/** ``filter`` is changed in place, so that a redraw of the page keeps what was chosen. */
function rolloutsView(run, filter, held, openRollout) {
  const results = h("div", {});
  const draw = () => results.replaceChildren(...rolloutRows(run, filter, held, openRollout, draw));
  const change = (name) => (e) => { filter[name] = e.target.value; filter.page = 0; draw(); };
  const select = (name, label, options) => h("label", {}, `${label} `, h("select", { change: change(name), "data-filter": name },
    [["", "all"], ...options].map(([value, word]) => h("option", { value, selected: String(filter[name]) === String(value) }, word))));
  const search = h("input", { type: "search", id: "search", placeholder: "task, family or key", input: change("text"), "aria-label": "filter by text" });
  search.value = filter.text;
  draw();
  return [h("form", { class: "filters", submit: (e) => e.preventDefault() }, search,
    select("outcome", "outcome", [["solved", "solved"], ["partial", "partly"], ["failed", "failed"]]),
    select("use", "run for", run.uses.map((u, i) => [i, u.name])),
    select("opened", "skill", [[1, "opened"], [0, "not opened"], [-1, "none given"]])), results];
}

function rolloutRows(run, filter, held, openRollout, draw) {
  const found = matching(run, filter);
  const pages = Math.max(1, Math.ceil(found.length / PAGE_ROWS));
  const part = found.slice(filter.page * PAGE_ROWS, (filter.page + 1) * PAGE_ROWS);
  const turn = (by) => () => { filter.page += by; draw(); };
  const lines = part.map((i) => {
    const [kind, word] = outcome(run, i);
    const task = run.tasks[run.rollouts.task[i]];
    const opened = { 1: "opened", 0: "not opened" }[run.rollouts.opened[i]] || "";
    return h("tr", {}, [h("button", { class: "link", "data-rollout": i, click: () => openRollout(i, found) }, task.name), task.family,
      run.uses[run.rollouts.use[i]].name, h("span", { class: `badge ${kind}` }, word), opened,
      tokens(run.rollouts.tokens[i]), duration(run.rollouts.seconds[i]), held(run.rollouts.key[i]) ? "✓" : ""].map((c) => h("td", {}, c)));
  });
  return [
    h("p", { role: "status" }, plural(found.length, "rollout")),
    table(["task", "family", "run for", "outcome", "skill", "tokens", "time", "trajectory"], lines, { class: "numbers" }),
    pages > 1 && h("p", {}, h("button", { class: "chip", disabled: filter.page === 0, click: turn(-1) }, "previous"),
      ` page ${filter.page + 1} of ${pages} `, h("button", { class: "chip", disabled: filter.page === pages - 1, click: turn(1) }, "next")),
  ].filter(Boolean);
}
