// What people say of rollouts and steps. Writing needs a server that allows it: ``store.review``.

const VERDICTS = { good: "good", bad: "bad", better: "better", worse: "worse", equal: "as good" };
const MAX_REMARK = 4000;
/** The edits whose absence was scored last, by number of the run. */
const scorings = {};

/** Ask once what is being scored: the page may have been loaded again. */
async function loadScorings() {
  const answer = await fetch("without.json");
  if (answer.ok) for (const [run, one] of Object.entries(await answer.json())) scorings[run] = one.edit;
}

/** Send something to the server that the page came from; an error has the server's words. */
async function send(path, body) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-skillopt-review": store.review } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

/** Whether the optimizer will see a remark, in words. */
function fate(run, remark) {
  if (remark.split && remark.split !== "train") return "kept from the optimizer: this task decides";
  if (run.state === "done" && remark.step > run.steps) return "shown to the optimizer in a run that is forked from this one";
  return `shown to the optimizer from step ${remark.step} on`;
}

function remarkCard(run, number, remark, open) {
  const verdict = remark.verdict && h("span", { class: `badge ${{ good: "solved", bad: "failed" }[remark.verdict] || "partial"}` }, VERDICTS[remark.verdict],
    remark.other && " than the other");
  const problem = h("span", { class: "refusal" });
  const withdraw = async () => {
    try { await send("remarks", { run: number, about: remark.about, id: remark.id, withdrawn: true }); } catch (error) { problem.textContent = visible(` ${error.message}`); }
  };
  return h("article", { class: "card remark" },
    h("h3", {}, open ? h("button", { class: "link", click: () => open(remark) }, remark.task || remark.about) : remark.task || remark.about, " ", verdict, remark.blind && " · blind"),
    remark.text && h("pre", { class: "said" }, remark.text),
    h("p", { class: "note" }, `${remark.use ? `${remark.use} · ` : ""}${moment(remark.at)} · ${fate(run, remark)} `,
      store.review && h("button", { class: "chip", click: withdraw }, "withdraw"), problem));
}

/** Whether what is said of a task of a split will reach the optimizer. */
const reaches = (split) => (split && split !== "train" ? "This task decides, so the optimizer is not shown it." : "The optimizer is shown this as a person's words.");

/** A form for a remark; ``about`` says on what, ``split`` which tasks that belongs to. */
function remarkForm(number, about, verdicts, split = "") {
  if (!store.review) return null;
  const text = h("textarea", { rows: 3, maxlength: MAX_REMARK, "aria-label": "remark", placeholder: `What should have been done? ${reaches(split)}` });
  const state = h("span", { class: "note", "aria-live": "polite" });
  let verdict = "";
  const chips = verdicts.map((name) => h("button", { class: "chip", type: "button", "aria-pressed": "false", "data-verdict": name, click: () => {
    verdict = verdict === name ? "" : name;
    chips.forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.verdict === verdict)));
  } }, VERDICTS[name]));
  const keep = async (event) => {
    event.preventDefault();
    try {
      await send("remarks", { run: number, ...about, verdict, text: text.value });
      text.value = "";
      if (verdict) chips.find((chip) => chip.dataset.verdict === verdict).click();
      state.textContent = "kept";
    } catch (error) { state.textContent = visible(error.message); }
  };
  return h("form", { class: "remark-form", submit: keep }, text, h("p", {}, chips, h("button", { class: "chip", type: "submit" }, "keep this remark"), " ", state));
}

function remarksView(run, number, open) {
  const list = [...run.remarks].reverse();
  return [list.length ? section(plural(list.length, "remark"), list.map((remark) => remarkCard(run, number, remark, open)))
    : note("Nobody has left a remark."),
  note(store.review ? "Open a rollout or a step to leave one." : "To leave some, start the page with 'skillopt ui --review'.")];
}

/** A button that takes an accepted edit out and scores the rest, and what came of it. */
function withoutButton(number, name) {
  if (!store.review) return null;
  const result = h("div", {});
  const start = async () => {
    result.replaceChildren(note("Scored in the run's own agent and model; rollouts that are not in the store are run and may cost something. ",
      h("button", { class: "chip", click: begin }, "score it"), h("button", { class: "chip", click: () => result.replaceChildren() }, "leave it")));
  };
  const begin = async () => {
    try {
      await send("without", { run: number, edit: name });
      scorings[number] = name;
      await watch();
    } catch (error) { result.replaceChildren(note(error.message)); }
  };
  const watch = async () => {
    const answer = await fetch("without.json");
    if (!answer.ok) throw new Error(await answer.text());
    const found = (await answer.json())[number];
    if (!found || found.edit !== name) return;
    if (found.state === "running") {
      result.replaceChildren(note(`Scoring the best skill without edit ${name} …`));
      setTimeout(() => { if (result.isConnected) watch().catch((error) => result.replaceChildren(note(error.message))); }, 1500);
    } else result.replaceChildren(found.state === "done" ? scoredWithout(found) : h("pre", { class: "card refused" }, found.error));
  };
  if (scorings[number] === name) setTimeout(() => { if (result.isConnected) watch().catch((error) => result.replaceChildren(note(error.message))); }, 0);
  return h("div", { class: "without" }, h("button", { class: "chip", "data-without": name, click: start }, `score the best skill without this edit (${name})`), result);
}

function scoredWithout(found) {
  const { scores, dropped } = found.result;
  const lines = scores.map((one) => row(one.skill, share(one.score), plural(new Set(one.tasks.map((task) => task.task)).size, "task")));
  return h("div", { class: "card" }, table([`${SPLITS[found.split] || found.split}`, "score", ""], lines, { class: "numbers" }),
    dropped.length > 0 && note(`Left out too, as they do not apply without it: ${dropped.join(", ")}.`));
}
