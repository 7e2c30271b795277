// All rollouts that counted, with filters, sorted; a page of them at a time.

const PAGE_ROWS = 100;
const NO_FILTER = { text: "", outcome: "", use: "", opened: "", page: 0, sort: "", down: false, words: "", found: null };

const COLUMNS = [
  ["task", (run, i) => run.tasks[run.rollouts.task[i]].name],
  ["family", (run, i) => run.tasks[run.rollouts.task[i]].family],
  ["run for", (run, i) => run.rollouts.use[i]],
  ["outcome", (run, i) => run.rollouts.soft[i] + run.rollouts.hard[i] - 3 * (run.rollouts.status[i] > 0)],
  ["skill", (run, i) => run.rollouts.opened[i]],
  ["tokens", (run, i) => run.rollouts.tokens[i]],
  ["cost", (run, i) => run.rollouts.cost[i]],
  ["time", (run, i) => run.rollouts.seconds[i]],
];

function matching(run, filter) {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (let i = 0; i < run.rollouts.key.length; i += 1) {
    const task = run.tasks[run.rollouts.task[i]];
    const label = `${task.name} ${task.family} ${run.rollouts.key[i]}`.toLowerCase();
    if (filter.use !== "" && run.rollouts.use[i] !== Number(filter.use)) continue;
    if (filter.outcome && outcome(run, i)[0] !== filter.outcome) continue;
    if (filter.opened !== "" && run.rollouts.opened[i] !== Number(filter.opened)) continue;
    if (filter.found && !filter.found.has(run.rollouts.key[i])) continue;
    if (words.every((word) => label.includes(word))) found.push(i);
  }
  return sorted(run, filter, found);
}

/** In the order that was asked for; those that are alike stay in the order in which they were run. */
function sorted(run, filter, found) {
  const column = COLUMNS.find(([name]) => name === filter.sort);
  if (!column) return found;
  const values = new Map(found.map((i) => [i, column[1](run, i)]));
  const by = filter.down ? -1 : 1;
  const compare = (a, b) => (a < b ? -1 : Number(a > b));
  return found.sort((a, b) => by * compare(values.get(a), values.get(b)) || a - b);
}

/** ``filter`` is changed in place, so that a redraw of the page keeps what was chosen. */
function rolloutsView(run, number, filter, held, openRollout) {
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
    select("opened", "skill", [[1, "opened"], [0, "not opened"], [-1, "none given"]])),
  trajectorySearch(number, filter, draw), results];
}

/** A search in all trajectories that can be opened, part by part. */
function trajectorySearch(number, filter, draw) {
  const words = h("input", { type: "search", id: "search-in", placeholder: "words in trajectories", "aria-label": "search in trajectories" });
  const state = h("span", { class: "note", "aria-live": "polite", id: "searched" });
  words.value = filter.words;
  let mine = 0;
  const run = async (event) => {
    event.preventDefault();
    const me = mine += 1;
    filter.words = words.value.trim();
    filter.page = 0;
    filter.found = filter.words ? new Set() : null;
    state.textContent = "";
    let start = 0;
    while (filter.words && start !== null && me === mine) {
      try {
        const part = await searched(number, filter.words, start);
        if (me !== mine) return;
        part.found.forEach((key) => filter.found.add(key));
        start = part.next;
        state.textContent = start === null ? ` found in ${plural(filter.found.size, "trajectory").replace("trajectorys", "trajectories")}` : ` searched ${count(start)} of ${count(part.total)} …`;
      } catch (error) { state.textContent = visible(` ${error.message}`); break; }
      draw();
    }
    draw();
  };
  return h("form", { class: "filters", submit: run }, words, h("button", { class: "chip", type: "submit" }, "search"), state);
}

async function searched(number, words, start) {
  if (!store.live) {
    const wanted = words.toLowerCase();
    const found = Object.entries(store.trajectories).filter(([, one]) => JSON.stringify(one.steps).toLowerCase().includes(JSON.stringify(wanted).slice(1, -1))).map(([key]) => key);
    return { found, next: null, total: Object.keys(store.trajectories).length };
  }
  const answer = await fetch(`search.json?${new URLSearchParams({ run: number, words, start })}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function rolloutRows(run, filter, held, openRollout, draw) {
  const found = matching(run, filter);
  const pages = Math.max(1, Math.ceil(found.length / PAGE_ROWS));
  const part = found.slice(filter.page * PAGE_ROWS, (filter.page + 1) * PAGE_ROWS);
  const turn = (by) => () => { filter.page += by; draw(); };
  const sort = (name) => () => {
    filter.down = filter.sort === name && !filter.down;
    filter.sort = name;
    filter.page = 0;
    draw();
  };
  const head = COLUMNS.map(([name]) => {
    const here = filter.sort === name;
    const arrow = here ? (filter.down ? " ▼" : " ▲") : "";
    return h("th", { scope: "col", "aria-sort": here ? (filter.down ? "descending" : "ascending") : null },
      h("button", { class: "sort", "data-sort": name, click: sort(name) }, `${name}${arrow}`));
  });
  const lines = part.map((i) => {
    const [kind, word] = outcome(run, i);
    const task = run.tasks[run.rollouts.task[i]];
    const opened = { 1: "opened", 0: "not opened" }[run.rollouts.opened[i]] || "";
    const usd = run.rollouts.cost[i];
    return h("tr", {}, [h("button", { class: "link", "data-rollout": i, click: () => openRollout(i, found) }, task.name), task.family,
      run.uses[run.rollouts.use[i]].name, h("span", { class: `badge ${kind}` }, word), opened,
      tokens(run.rollouts.tokens[i]), usd === PLAN ? "plan" : usd < 0 ? "" : cents(usd), duration(run.rollouts.seconds[i]), held(run.rollouts.key[i]) ? "✓" : ""].map((c) => h("td", {}, c)));
  });
  return [
    h("p", { role: "status" }, plural(found.length, "rollout")),
    table([...head, "trajectory"], lines, { class: "numbers" }),
    pages > 1 && h("p", {}, h("button", { class: "chip", disabled: filter.page === 0, click: turn(-1) }, "previous"),
      ` page ${filter.page + 1} of ${pages} `, h("button", { class: "chip", disabled: filter.page === pages - 1, click: turn(1) }, "next")),
  ].filter(Boolean);
}

/** In place of a cost: a plan has paid. */
const PLAN = -2;
const cents = (usd) => `$${usd.toFixed(usd && usd < 0.1 ? 4 : 2)}`;

/** What each task took, by what it was run for: each rollout once. */
function costByTask(run) {
  const seen = new Set();
  const tasks = new Map();
  const uses = ["train", "val", "test"];
  run.rollouts.key.forEach((key, i) => {
    if (seen.has(key)) return;
    seen.add(key);
    const task = run.rollouts.task[i];
    if (!tasks.has(task)) tasks.set(task, { rollouts: 0, tokens: 0, usd: 0, known: true, plan: false, seconds: 0, by: { train: 0, val: 0, test: 0 } });
    const all = tasks.get(task);
    all.rollouts += 1;
    all.tokens += run.rollouts.tokens[i];
    all.by[run.uses[run.rollouts.use[i]].split] += run.rollouts.tokens[i];
    all.seconds += Math.max(0, run.rollouts.seconds[i]);
    if (run.rollouts.cost[i] === PLAN) all.plan = true;
    else if (run.rollouts.cost[i] < 0) all.known = false;
    else all.usd += run.rollouts.cost[i];
  });
  const list = [...tasks].sort(([, a], [, b]) => b.tokens - a.tokens);
  const largest = list.length ? list[0][1].tokens : 0;
  const lines = list.slice(0, 500).map(([task, all]) => row(run.tasks[task].name, run.tasks[task].family, count(all.rollouts), tokens(all.tokens), bar(all.tokens, largest),
    ...uses.map((split) => (all.by[split] ? tokens(all.by[split]) : "")), !all.known ? "unknown" : all.plan && !all.usd ? "plan" : cents(all.usd), duration(all.seconds)));
  return [table(["task", "family", "rollouts", "tokens", "", "in training", "in selection", "in tests", "cost", "time"], lines, { class: "numbers" }),
    list.length > 500 && note(`The 500 of ${plural(list.length, "task")} that took the most.`),
    note("Each rollout counts once, for what it was first run for. The overview has the cost by stage, with the optimizer's.")];
}
