// Two rollouts of one task side by side, blind if wanted.

const LARGEST_DIFF = 1500;

/** Rows of a line-by-line comparison, as report/diff.py makes them; null if the texts are too long. */
function lineDiff(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [left, right] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (left.length > LARGEST_DIFF || right.length > LARGEST_DIFF) return null;
  if (!left.length && !right.length) return [];
  const longest = Array.from({ length: left.length + 1 }, () => new Uint16Array(right.length + 1));
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      longest[i][j] = left[i] === right[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const side = (number, text, changed) => ({ number: start + number + 1, parts: [[text, changed]] });
  const rows = start ? [{ kind: "gap", skipped: start }] : [];
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      rows.push({ kind: "same", left: side(i, left[i], false), right: side(j, right[j], false) });
      i += 1;
      j += 1;
    } else if (j >= right.length || (i < left.length && longest[i + 1][j] >= longest[i][j + 1])) {
      rows.push({ kind: "removed", left: side(i, left[i], false), right: null });
      i += 1;
    } else {
      rows.push({ kind: "added", left: null, right: side(j, right[j], false) });
      j += 1;
    }
  }
  if (end) rows.push({ kind: "gap", skipped: end });
  return rows;
}

/** What the files that two agents left have in common, and what not. */
function fileDifferences(one, other) {
  const texts = (found) => new Map(found.files.map((file) => [file.name, file.text]));
  const [left, right] = [texts(one), texts(other)];
  const names = [...new Set([...left.keys(), ...right.keys()])].sort();
  if (!names.length) return note("Neither agent changed a file.");
  return names.map((name) => {
    const [a, b] = [left.get(name), right.get(name)];
    if (a === b) return note(`${name}: the same in both.`);
    const rows = a === null || b === null ? null : lineDiff(a ?? "", b ?? "");
    const which = a === undefined ? " (right only)" : b === undefined ? " (left only)" : "";
    return h("details", { class: "card", open: true }, h("summary", {}, name, which), rows ? diff(rows) : note("Not text, or too long to compare."));
  });
}

/** The same random choice for a task each time, as long as the seed is the same. */
function coin(seed, text) {
  let value = seed >>> 0;
  for (const c of text) value = Math.imul(value ^ c.codePointAt(0), 2654435761) >>> 0;
  return ((value ^ (value >>> 15)) & 1) === 1;
}

/** The two uses to begin with: the skills that were tested, or the first and the last judged. */
function firstPair(run) {
  const named = (name) => run.uses.findIndex((use) => use.name === name);
  const tested = [named("test, initial skill"), named("test, best skill")];
  if (tested.every((use) => use >= 0)) return tested;
  const judged = run.uses.flatMap((use, i) => (use.split === "val" ? [i] : []));
  return judged.length > 1 ? [judged[0], judged.at(-1)] : [0, 0];
}

/** The rollouts of two uses by task: [task, index of one, index of the other]. */
function pairs(run, first, second) {
  const by = [new Map(), new Map()];
  run.rollouts.use.forEach((use, i) => {
    if (use === first && !by[0].has(run.rollouts.task[i])) by[0].set(run.rollouts.task[i], i);
    if (use === second && !by[1].has(run.rollouts.task[i])) by[1].set(run.rollouts.task[i], i);
  });
  return [...by[0]].filter(([task]) => by[1].has(task)).map(([task, i]) => [task, i, by[1].get(task)])
    .sort(([a], [b]) => run.tasks[a].name.localeCompare(run.tasks[b].name));
}

const NO_COMPARISON = { blind: false, differing: false, page: 0, seed: Math.floor(Math.random() * 2 ** 31) };

/** ``chosen`` is two numbers of uses, perhaps with a task's name behind them, from the address. */
function compareView(run, chosen, settings, go, openPair) {
  if (run.uses.length < 1) return [note("Nothing has been run yet.")];
  const asked = chosen.split("/").slice(0, 2).map(Number);
  const valid = chosen && asked.length === 2 && asked.every((use) => Number.isInteger(use) && use in run.uses);
  const [first, second] = valid ? asked : firstPair(run);
  const select = (label, value, change) => h("label", {}, `${label} `, h("select", { "aria-label": label, change: (e) => change(Number(e.target.value)) },
    run.uses.map((use, i) => h("option", { value: i, selected: i === value }, use.name))));
  const box = (name, label) => h("label", {}, h("input", { type: "checkbox", checked: settings[name], "data-setting": name, change: (e) => {
    settings[name] = e.target.checked;
    settings.page = 0;
    go("compare", `${first}/${second}`, true);
  } }), ` ${label}`);
  const score = (i) => run.rollouts.soft[i];
  const found = pairs(run, first, second).filter(([, i, j]) => !settings.differing || score(i) !== score(j));
  const part = found.slice(settings.page * PAGE_ROWS, (settings.page + 1) * PAGE_ROWS);
  const badge = (i) => (settings.blind ? "hidden" : h("span", { class: `badge ${outcome(run, i)[0]}` }, outcome(run, i)[1]));
  const said = new Set(run.remarks.map((remark) => `${remark.about}/${remark.other}`));
  const seen = (i, j) => [[i, j], [j, i]].some(([a, b]) => said.has(`${run.rollouts.key[a]}/${run.rollouts.key[b]}`));
  const lines = part.map(([task, i, j]) => row(h("button", { class: "link", "data-pair": task, click: () => openPair(found, found.findIndex(([t]) => t === task)) }, run.tasks[task].name),
    run.tasks[task].family, badge(i), badge(j), seen(i, j) ? "✓" : ""));
  const turn = (by) => () => { settings.page += by; go("compare", `${first}/${second}`, true); };
  return [
    h("form", { class: "filters", submit: (e) => e.preventDefault() }, select("one", first, (use) => go("compare", `${use}/${second}`)),
      select("other", second, (use) => go("compare", `${first}/${use}`)), box("blind", "blind: hide which is which"), box("differing", "only where the score differs")),
    h("p", { role: "status" }, found.length ? `${plural(found.length, "task")} that both have run` : "No task was run for both. Choose two of one split."),
    found.length > 0 && table(["task", "family", settings.blind ? "one" : run.uses[first].name, settings.blind ? "other" : run.uses[second].name, "verdict"], lines),
    found.length > PAGE_ROWS && h("p", {}, h("button", { class: "chip", disabled: settings.page === 0, click: turn(-1) }, "previous"),
      ` page ${settings.page + 1} of ${Math.ceil(found.length / PAGE_ROWS)} `,
      h("button", { class: "chip", disabled: (settings.page + 1) * PAGE_ROWS >= found.length, click: turn(1) }, "next")),
  ].filter(Boolean);
}

/** A dialog with two rollouts of one task. ``load`` is that of the viewer. */
function makePairViewer(load) {
  const body = h("div", { class: "viewer-body" });
  const dialog = h("dialog", { class: "viewer wide", "aria-label": "two rollouts side by side" }, body);
  let asked = 0;
  let keys = {};
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (dialog.open && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key]) keys[event.key]();
  });
  const show = async (run, number, found, place, settings) => {
    const mine = asked += 1;
    const [task, one, other] = found[place];
    const name = run.tasks[task].name;
    const swapped = settings.blind && coin(settings.seed, `${number}/${name}`);
    const [left, right] = swapped ? [other, one] : [one, other];
    const go = (by) => { if (place + by >= 0 && place + by < found.length) show(run, number, found, place + by, settings); };
    body.replaceChildren(note("Loading…"));
    if (!dialog.open) dialog.showModal();
    const loaded = await Promise.all([left, right].map(async (i) => {
      try { return await load(run.rollouts.key[i], false); } catch (error) { return { problem: error.message }; }
    }));
    if (mine !== asked) return;
    let revealed = !settings.blind;
    const draw = (kept) => {
      const text = body.querySelector("textarea")?.value || "";
      body.replaceChildren(...pairParts(run, number, { name, left, right, loaded, revealed, place, total: found.length, blind: settings.blind, kept, go,
        close: () => dialog.close(), reveal: (word) => { revealed = true; draw(word); } }));
      const area = body.querySelector("textarea");
      if (area) area.value = kept ? "" : text;
      keys = { n: () => go(1), p: () => go(-1), ...Object.fromEntries([...body.querySelectorAll("[data-key]")].map((b) => [b.dataset.key, () => b.click()])) };
    };
    draw("");
    body.scrollTop = 0;
  };
  return { dialog, show };
}

function pairParts(run, number, at) {
  const sides = [at.left, at.right];
  const titles = at.revealed ? sides.map((i) => run.uses[run.rollouts.use[i]].name) : ["left", "right"];
  const whole = at.loaded.every((found) => found && !found.problem);
  return [
    h("header", {}, h("h2", {}, at.name), h("p", {}, h("button", { class: "chip", disabled: at.place <= 0, click: () => at.go(-1) }, "previous (p)"),
      h("button", { class: "chip", disabled: at.place + 1 >= at.total, click: () => at.go(1) }, "next (n)"),
      !at.revealed && h("button", { class: "chip", click: () => at.reveal("") }, "show which is which"),
      h("button", { class: "chip", click: at.close }, "close (Esc)"))),
    whole && store.review && verdictForm(run, number, at),
    at.kept && h("p", { role: "status" }, at.kept),
    whole && section("Files that they changed", fileDifferences(...at.loaded)),
    h("div", { class: "pair" }, sides.map((i, side) => h("section", { "aria-label": ["left", "right"][side] },
      h("h2", {}, titles[side], at.revealed ? [" ", h("span", { class: `badge ${outcome(run, i)[0]}` }, outcome(run, i)[1])] : ""),
      detailOrProblem(at.loaded[side], at.revealed)))),
  ].filter(Boolean);
}

function detailOrProblem(found, revealed) {
  if (!found) return note("This trajectory is not here. ", store.rule);
  if (found.problem) return note(found.problem);
  return revealed ? rolloutDetail(found) : [section("Conversation", found.steps.filter((step) => step.source !== "system").map(stepCard)), changedFiles(found)];
}

/** Which of the two is better; the remark is of the left one. */
function verdictForm(run, number, at) {
  const text = h("textarea", { rows: 2, maxlength: MAX_REMARK, "aria-label": "why", placeholder: `Why? ${reaches(run.uses[run.rollouts.use[at.left]].split)}` });
  const state = h("span", { class: "note", "aria-live": "polite" });
  const give = (verdict) => async () => {
    const [about, other] = [at.left, at.right].map((i) => run.rollouts.key[i]);
    try {
      await send("remarks", { run: number, about, other, verdict, blind: at.blind && !at.revealed, text: text.value });
      at.reveal("Kept.");
    } catch (error) { state.textContent = visible(error.message); }
  };
  return h("form", { class: "remark-form", submit: (e) => e.preventDefault() }, text, h("p", {},
    [["better", "left is better (1)", "1"], ["equal", "equal (0)", "0"], ["worse", "right is better (2)", "2"]].map(([verdict, label, key]) =>
      h("button", { class: "chip", type: "button", "data-verdict": verdict, "data-key": key, click: give(verdict) }, label)), " ", state));
}
