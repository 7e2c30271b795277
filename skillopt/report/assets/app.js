// The page itself: which run, which view. The address after # says both, so that it can be kept.

const TABS = ["overview", "steps", "tasks", "rollouts", "compare", "remarks", "rejected", "skill", "config"];
const store = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("page");
const filters = new Map();
const viewer = makeViewer(loadRollout, store.rule);
const pairViewer = makePairViewer(loadRollout);
const comparisons = new Map();
let linked = "";
let runs = store.runs;

async function loadRollout(key, failed) {
  if (!store.live) return store.trajectories[failed ? `failed/${key}` : key] || null;
  const answer = await fetch(`${failed ? "failed" : "rollouts"}/${encodeURIComponent(key)}.json`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

const held = (key) => store.live || key in store.trajectories;

function place() {
  const [run, tab, ...rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const several = runs.length > 1;
  if (several && (run === "" || run === "all")) return { run: -1, tab: "overview", what: "" };
  return { run: Math.min(Number(run) || 0, runs.length - 1), tab: TABS.includes(tab) ? tab : "overview", what: rest.join("/") };
}

function go(run, tab, what = "") {
  location.hash = [run < 0 ? "all" : run, tab, what].map(encodeURIComponent).join("/");
}

function content(at) {
  if (at.run < 0) return comparison(runs, (i) => go(i, "overview"));
  const run = runs[at.run];
  const to = (tab, what) => go(at.run, tab, what);
  const open = (index, among) => {
    const list = among || sameUse(run, index);
    viewer.show(list.indexOf(index), list.length, (place) => scoredItem(run, at.run, list[place]));
  };
  const openFailed = (failure) => viewer.show(run.failures.indexOf(failure), run.failures.length,
    (place) => failedItem(run.failures[place]));
  if (!filters.has(at.run)) filters.set(at.run, { ...NO_FILTER });
  if (!comparisons.has(at.run)) comparisons.set(at.run, { ...NO_COMPARISON });
  switch (at.tab) {
    case "steps": return entriesView(run, at.run, at.what, to, open);
    case "tasks": return tasksView(run, at.what, to, open);
    case "rollouts": return [...rolloutsView(run, at.run, filters.get(at.run), held, open),
      run.failures.some((f) => !f.over) && note("Rollouts that failed for infrastructure are not scored; the overview lists them."), note(store.rule)];
    case "compare": return compareView(run, at.what, comparisons.get(at.run), (tab, what, same) => { if (same) draw(); else to(tab, what); },
      (found, place) => pairViewer.show(run, at.run, found, place, comparisons.get(at.run)));
    case "remarks": return remarksView(run, at.run, (remark) => {
      const index = run.rollouts.key.indexOf(remark.about);
      if (index < 0) to("steps", remark.about);
      else open(index, [index]);
    });
    case "rejected": return memoryView(run, to);
    case "skill": return run.skill
      ? [section("From the initial to the best skill", diff(run.change)), section("The best skill", h("pre", { class: "card" }, run.skill))]
      : [note("No skill has a score yet.")];
    case "config": return [section("Config", h("pre", { class: "card" }, JSON.stringify(run.config, null, 2)))];
    default: return overview(run, to, openFailed);
  }
}

const sameUse = (run, index) => run.rollouts.use.flatMap((use, i) => (use === run.rollouts.use[index] ? [i] : []));

function banner(at) {
  const run = runs[at.run];
  const title = run ? run.name : plural(runs.length, "run");
  const facts = run ? `${run.harness} · ${run.target} · optimizer ${run.optimizer} · ${run.state}` : "";
  const picker = runs.length > 1 && h("nav", { "aria-label": "runs" }, [["side by side", -1], ...runs.map((r, i) => [r.name, i])].map(([name, i]) =>
    h("button", { class: "chip", "aria-pressed": String(i === at.run), click: () => go(i, at.tab) }, name)));
  const tabs = run && h("nav", { class: "tabs", "aria-label": "views" }, TABS.map((tab, i) =>
    h("button", { class: "tab", "aria-current": tab === at.tab ? "page" : null, click: () => go(at.run, tab), title: `key ${i + 1}` }, tab)));
  return h("header", { class: "top" }, h("div", { class: "titles" }, h("h1", {}, title), note(facts),
    h("button", { class: "chip theme", click: toggleTheme, title: "key t" }, "light / dark")), picker, tabs);
}

function toggleTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

function draw() {
  if (!runs.length) { root.replaceChildren(note("Loading…")); return; }
  const at = place();
  const focused = document.activeElement?.id;
  const parts = content(at).filter(Boolean);
  root.replaceChildren(banner(at), h("main", { tabindex: -1 }, parts),
    h("footer", { class: "note" }, "Keys: 1–9 views, j and k steps, / filter, t theme, n and p in a trajectory."));
  const [tabs, tab] = [root.querySelector(".tabs"), root.querySelector(".tab[aria-current]")];
  if (tab) tabs.scrollLeft = tab.offsetLeft - tabs.offsetLeft - 60; // On a phone not all fit.
  if (focused) document.getElementById(focused)?.focus();
  openLinked(at);
}

/** Open the rollout that the address names, once. */
function openLinked(at) {
  const name = at.tab === "rollouts" && at.what ? `${at.run}/${at.what}` : "";
  if (name && name !== linked) {
    const index = runs[at.run].rollouts.key.indexOf(at.what);
    if (index < 0) return;
    viewer.show(0, 1, () => scoredItem(runs[at.run], at.run, index));
  }
  linked = name;
}

/** Draw again unless somebody is writing: what they wrote would be lost. */
function drawUnlessWriting() {
  const writing = document.activeElement?.tagName === "TEXTAREA" || [...root.querySelectorAll("textarea")].some((area) => area.value);
  document.querySelectorAll("[data-remarks]").forEach((list) => list.dispatchEvent(new Event("redraw")));
  if (!writing) draw();
}

function keys(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (typing || viewer.dialog.open || pairViewer.dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = place();
  const number = Number(event.key);
  if (event.key === "t") toggleTheme();
  if (at.run < 0) return;
  if (number >= 1 && number <= TABS.length) go(at.run, TABS[number - 1]);
  if (event.key === "/") {
    event.preventDefault();
    go(at.run, "rollouts");
    setTimeout(() => document.getElementById("search")?.focus(), 50);
  }
  if (event.key === "j" || event.key === "k") {
    const { entries } = runs[at.run];
    const now = at.tab === "steps" ? entries.findIndex((e) => e.name === at.what) : -1;
    const next = entries[Math.min(entries.length - 1, Math.max(0, now + (event.key === "j" ? 1 : -1)))];
    if (next) go(at.run, "steps", next.name);
  }
}

/** Ask for the runs again after each change, one request at a time. */
function follow() {
  let [busy, again] = [false, false];
  const load = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch("data.json");
      if (answer.ok) { runs = (await answer.json()).runs; drawUnlessWriting(); }
    } finally { busy = false; }
    if (again) { again = false; load(); }
  };
  new EventSource("events").onmessage = load;
}

addEventListener("hashchange", draw);
addEventListener("keydown", keys);
narrow.addEventListener("change", draw);
draw();
document.body.append(viewer.dialog, pairViewer.dialog);
if (store.review) loadScorings().catch(() => {}); // It is only for what was begun before.
if (store.live) follow();
