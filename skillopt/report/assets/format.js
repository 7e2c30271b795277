// Numbers and words as people read them.

const percent = (value) => `${Math.round(100 * value)} %`;
/** A score or a gain with its interval; one task has none. */
const ends = (e, number) => (e.low === null ? "" : ` [${number(e.low)}, ${number(e.high)}]`);
const share = (e) => `${percent(e.value)}${ends(e, (value) => Math.round(100 * value))}`;
const signed = (value) => (value > 0 ? "+" : "") + Math.round(100 * value);
const points = (e) => `${signed(e.value)}${ends(e, signed)}`;
const tested = (scores) => scores.score || scores.hard;
const count = (value) => Number(value).toLocaleString("en-US");
/** A cost; `included`: a plan has paid for some of it. */
const money = (usd, included) => (usd === null ? "cost unknown"
  : included ? (usd ? `$${usd.toFixed(2)} and a plan` : "included in a plan") : `$${usd.toFixed(2)}`);

/** A window of a plan, as its service last told. */
const windowOfPlan = (w) => `${{ five_hour: "five hours", seven_day: "week" }[w.name] || w.name} `
  + (w.exhausted ? "used up" : w.used === null ? "use unknown" : `${percent(w.used)} used`)
  + (w.resets_at === null ? "" : `, resets ${new Date(1000 * w.resets_at).toLocaleString()}`);

function tokens(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  return value >= 1e3 ? `${Math.round(value / 1e3)}k` : String(value);
}

function duration(seconds) {
  if (seconds < 0) return "";
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A moment as a date and a time that are the same wherever the page is read. */
const moment = (seconds) => `${new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ")} UTC`;

const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const ACTIONS = { accept: "accepted", reject: "rejected", skip: "nothing to judge", off: "not judged" };
const actionWord = (action) => ACTIONS[action] || action;

/** How a rollout ended, for a class name and for people. */
function outcome(run, index) {
  const status = run.statuses[run.rollouts.status[index]];
  if (status !== "completed") return ["failed", status.replace("_", " ")];
  const soft = run.rollouts.soft[index];
  if (run.rollouts.hard[index]) return ["solved", "solved"];
  return soft > 0 ? ["partial", `partly: ${percent(soft)}`] : ["failed", "failed"];
}

/** How all rollouts of one task went, for a class name and for people. */
function outcomes(run, indices) {
  if (indices.length === 1) return outcome(run, indices[0]);
  const kinds = indices.map((index) => outcome(run, index)[0]);
  const solved = kinds.filter((kind) => kind === "solved").length;
  const kind = kinds.every((one) => one === kinds[0]) ? kinds[0] : "partial";
  return [kind, `${solved} of ${indices.length} solved`];
}

/** A value of the config, of any kind, in a few words. */
function setting(value) {
  if (value === null) return "(none)";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (/^[0-9a-f]{64}$/.test(text)) return `${text.slice(0, 12)}…`;
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

const UNOPENED = "Opened in 0 %: an agent decides by the skill's description whether to open it. "
  + "Say in the description for which tasks the skill is.";
