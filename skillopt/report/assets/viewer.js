// One rollout: conversation, tool calls and their output, the verifier's words, the screen.

/** A dialog that shows rollouts; ``load(key, failed)`` promises one, or null if it is not to be had.
 * ``show(place, total, item)`` opens it at one of a list, ``item(place)`` says what is there. */
function makeViewer(load, rule) {
  const body = h("div", { class: "viewer-body" });
  const dialog = h("dialog", { class: "viewer", "aria-label": "trajectory" }, body);
  let asked = 0;
  let go = () => {};
  addEventListener("keydown", (e) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
    if (dialog.open && !typing && (e.key === "n" || e.key === "p")) go(e.key === "n" ? 1 : -1);
  });
  const show = async (place, total, item) => {
    const mine = asked += 1;
    const shown = item(place);
    go = (by) => { if (place + by >= 0 && place + by < total) show(place + by, total, item); };
    const head = viewerHead(shown, place, total, go, () => dialog.close());
    body.replaceChildren(head, note("Loading…"));
    if (!dialog.open) dialog.showModal();
    let found = null;
    let problem = rule;
    try { found = await load(shown.key, shown.failed); } catch (error) { problem = error.message; }
    if (mine !== asked) return;
    body.replaceChildren(head, ...(shown.remarks ? [shown.remarks()] : []),
      ...(found ? [findBox(body), ...rolloutDetail(found)] : [shown.reason, note("This trajectory is not here. ", problem)].filter(Boolean)));
    body.scrollTop = 0;
  };
  return { dialog, show };
}

/** A search in the steps that are shown: those without the words are hidden. */
function findBox(body) {
  const state = h("span", { class: "hits", "aria-live": "polite" });
  const find = (event) => {
    const words = event.target.value.toLowerCase();
    const steps = [...body.querySelectorAll(".step")];
    steps.forEach((step) => { step.hidden = !step.textContent.toLowerCase().includes(words); });
    state.textContent = words ? ` in ${plural(steps.filter((step) => !step.hidden).length, "step")}` : "";
  };
  return h("p", {}, h("input", { type: "search", class: "find", placeholder: "find in this trajectory", "aria-label": "find in this trajectory", input: find }), state);
}

/** What the viewer shows of a scored rollout before it is loaded. */
function scoredItem(run, number, index) {
  const [kind, word] = outcome(run, index);
  const key = run.rollouts.key[index];
  const remarks = () => {
    const list = h("div", {});
    const draw = () => {
      const now = runs[number].remarks.filter((remark) => remark.about === key || remark.other === key);
      list.replaceChildren(...now.map((remark) => remarkCard(runs[number], number, remark)));
    };
    draw();
    list.addEventListener("redraw", draw);
    list.dataset.remarks = key;
    return h("div", {}, list, remarkForm(number, { about: key }, ["good", "bad"], run.uses[run.rollouts.use[index]].split));
  };
  return { key, failed: false, kind, word, link: `#${[number, "rollouts", key].map(encodeURIComponent).join("/")}`, remarks,
    task: run.tasks[run.rollouts.task[index]].name, use: run.uses[run.rollouts.use[index]].name };
}

/** The same of one that failed for infrastructure, of which the last attempt is kept. */
function failedItem(failure) {
  return { key: failure.key, failed: true, kind: "failed", word: "not scored", task: failure.task, use: failure.stage,
    reason: h("pre", { class: "card refused" }, failure.reasons.at(-1)) };
}

function viewerHead(shown, place, total, go, close) {
  return h("header", {},
    h("h2", {}, shown.task, " ", h("span", { class: `badge ${shown.kind}` }, shown.word)),
    h("p", { class: "note" }, `${shown.use} · `, h("code", {}, shown.key.slice(0, 16))),
    h("p", {}, h("button", { class: "chip", disabled: place <= 0, click: () => go(-1) }, "previous (p)"),
      h("button", { class: "chip", disabled: place + 1 >= total, click: () => go(1) }, "next (n)"),
      shown.link && h("button", { class: "chip", click: (e) => copyLink(shown.link, e.target) }, "link"),
      h("button", { class: "chip", click: close }, "close (Esc)")));
}

/** Put a rollout's address into the address bar, and where it can be pasted from. */
function copyLink(link, button) {
  history.replaceState(null, "", link);
  navigator.clipboard?.writeText(location.href).then(() => { button.textContent = "copied"; }, () => { button.textContent = "in the address bar"; });
}

function rolloutDetail(found) {
  const opened = { true: "skill opened", false: "skill not opened" }[found.opened] || (found.scored ? "no skill" : null);
  const reward = found.scored ? `reward ${found.soft.toFixed(2)}` : "not scored";
  const complaint = found.feedback || (found.scored ? "No complaint." : "There is no verdict.");
  return [
    note(`${[found.agent, found.model, opened, reward].filter(Boolean).join(" · ")} · ${plural(found.usage.requests, "request")} · `
      + `${tokens(found.usage.prompt_tokens + found.usage.completion_tokens)} tokens · ${money(found.usage.cost_usd, found.usage.included)} · ${duration(found.seconds)}`),
    found.message && h("pre", { class: "card refused" }, found.message),
    section("Verifier", h("p", {}, complaint), found.verifier.map(fileCard)),
    found.frames.length > 0 && section("Terminal", terminal(found.frames)),
    section("Conversation", found.steps.length ? found.steps.map(stepCard) : note("The model was never reached.")),
    changedFiles(found),
  ].filter(Boolean);
}

function stepCard(step, number) {
  const long = step.source !== "agent" && step.text.length > 1200;
  const text = step.text && h("pre", { class: "said" }, step.text);
  return h("article", { class: `step ${step.source}` }, h("h3", {}, `${number + 1} · ${step.source}`,
    step.tokens ? h("span", { class: "note" }, ` ${tokens(step.tokens)} tokens`) : ""),
  step.reasoning && h("details", {}, h("summary", {}, "reasoning"), h("pre", {}, step.reasoning)),
  long ? h("details", {}, h("summary", {}, `${step.text.slice(0, 160)}…`), text) : text,
  step.calls.map((call) => callCard(call, step.results.filter((r) => r.id === call.id))));
}

function callCard(call, results) {
  return h("div", { class: "call" }, h("h4", {}, call.name), h("pre", { class: "input" }, call.arguments),
    results.map((r) => h("pre", { class: "output" }, r.text)));
}

/** What the agent changed in its workspace: differences, if the first files are known. */
function changedFiles(found) {
  if (!found.files.length && !found.removed.length) return null;
  return section("Files that the agent changed", found.files.map(changedCard),
    found.removed.length > 0 && note(`Removed: ${found.removed.join(", ")}.`));
}

function changedCard(file) {
  if (typeof file.before !== "string" || file.text === null) return fileCard(file);
  const rows = lineDiff(file.before, file.text);
  return h("details", { class: "card" }, h("summary", {}, `${file.name} (changed, ${count(file.size)} bytes)`),
    rows ? diff(rows) : note("Too long to compare."), h("details", {}, h("summary", {}, "the whole file"), h("pre", {}, file.text)));
}

function fileCard(file) {
  return h("details", { class: "card" }, h("summary", {}, `${file.name} (${count(file.size)} bytes)`),
    file.text === null ? note("Not text.") : h("pre", {}, file.text));
}

/** The screens of a recording, with a slider and a button that plays them. */
function terminal(frames) {
  const screen = h("pre", { class: "screen" });
  const clock = h("span", { class: "note" });
  const slider = h("input", { type: "range", min: 0, max: frames.length - 1, value: 0, "aria-label": "time in the recording" });
  let timer = null;
  const draw = (i) => {
    screen.textContent = visible(frames[i][1]);
    clock.textContent = ` ${duration(frames[i][0])} of ${duration(frames.at(-1)[0])}`;
    slider.value = i;
  };
  const stop = () => { clearTimeout(timer); timer = null; play.textContent = "play"; };
  const next = () => {
    const i = Number(slider.value);
    if (i + 1 >= frames.length || !screen.isConnected) { stop(); return; }
    timer = setTimeout(() => { draw(i + 1); next(); }, Math.min(1000, 1000 * (frames[i + 1][0] - frames[i][0])));
  };
  const play = h("button", { class: "chip", click: () => {
    if (timer) { stop(); return; }
    if (Number(slider.value) >= frames.length - 1) draw(0);
    play.textContent = "pause";
    next();
  } }, "play");
  slider.addEventListener("input", () => { stop(); draw(Number(slider.value)); });
  draw(frames.length - 1);
  return [h("p", {}, play, slider, clock), screen];
}
