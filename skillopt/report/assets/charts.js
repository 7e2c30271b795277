// The figures, drawn as SVG with attributes only.

const LEFT = 46;
const RIGHT = 20;
const narrow = matchMedia("(max-width: 760px)");

/** Axes and grid lines; returns the picture and functions from values to places. */
function plot(title, height, maxX, ticks, label, maxY = 1) {
  const bottom = height - 34;
  const across = narrow.matches ? 380 : 720;
  const x = (value) => LEFT + (value / Math.max(maxX, 1)) * (across - LEFT - RIGHT);
  const y = (value) => bottom - (value / maxY) * (bottom - 14);
  const picture = s("svg", { viewBox: `0 0 ${across} ${height}`, role: "img", "aria-label": title, class: "chart" });
  for (const tick of ticks) {
    picture.append(s("line", { x1: LEFT, x2: across - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }),
      s("text", { x: LEFT - 8, y: y(tick) + 4, class: "end" }, label(tick)));
  }
  const every = Math.max(1, Math.ceil(maxX / (narrow.matches ? 7 : 14)));
  for (let step = 0; step <= maxX; step += every) {
    picture.append(s("text", { x: x(step), y: bottom + 18, class: "middle" }, step));
  }
  picture.append(s("text", { x: across - RIGHT, y: height - 2, class: "end" }, "step"));
  return { picture, x, y, bottom, width: across };
}

/** Steps up and down between points: a value holds until the next one. */
function stairs(list, x, y) {
  return list.map(([at, value], i) => (i ? `H${x(at)}V${y(value)}` : `M${x(at)},${y(value)}`)).join("");
}

/** The current skill's score after each evaluation, which may have measured it again: [x, estimate]. */
function currentScores(run) {
  const found = run.curve.filter((p) => p.current).map((p) => [p.x, p.current]);
  const last = lastStep(run);
  if (found.length) found.push([Math.max(last, found.at(-1)[0]), found.at(-1)[1]]);
  return found;
}

const lastStep = (run) => Math.max(0, run.steps, ...run.curve.map((p) => p.x));

/** Selection scores of all that was judged, with the interval of the current skill. */
function scoreChart(runs, open) {
  const maxX = Math.max(1, ...runs.map(lastStep));
  const { picture, x, y } = plot("Scores on the selection split by step", 300, maxX,
    [0, 0.25, 0.5, 0.75, 1], percent);
  runs.forEach((run, number) => {
    const held = currentScores(run);
    if (runs.length === 1 && held.length) {
      const low = held.map(([at, e]) => [at, e.low ?? e.value]);
      const high = held.map(([at, e]) => [at, e.high ?? e.value]);
      const back = low.slice().reverse().map(([at, value], i, all) =>
        (i ? `V${y(value)}H${x(at)}` : `L${x(at)},${y(value)}`));
      picture.append(s("path", { d: `${stairs(high, x, y)}${back.join("")}Z`, class: "band" }));
    }
    picture.append(s("path", { d: stairs(held.map(([at, e]) => [at, e.value]), x, y), class: `curve run${number}` }));
    if (runs.length === 1) run.curve.forEach((p) => picture.append(marker(p, x, y, open)));
    else if (held.length) {
      const [at, e] = held.at(-1);
      picture.append(s("text", { x: x(at) - 4, y: y(e.value) - 6, class: `end run${number}` }, run.name));
    }
  });
  return picture;
}

/** One judged candidate: a disc when accepted, a cross when rejected, a bar with an arrow where
 * the evaluation stopped early, so that only an upper bound is known. */
function marker(point, x, y, open) {
  const value = point.score ? point.score.value : point.bound;
  const [cx, cy] = [x(point.x), y(value)];
  const tasks = point.measured < point.total ? `${point.measured} of ${point.total}` : point.total;
  const said = point.score
    ? `${point.name}: ${share(point.score)}, on ${tasks} tasks, ${actionWord(point.action)}`
    : `${point.name}: at most ${percent(value)}, ${actionWord(point.action)}`;
  const shape = [];
  if (point.score) {
    shape.push(s("line", { x1: cx, x2: cx, y1: y(point.score.low ?? point.score.value), y2: y(point.score.high ?? point.score.value), class: "whisker" }));
  }
  if (point.action === "accept") shape.push(s("circle", { cx, cy, r: 6 }));
  else if (point.score) shape.push(s("path", { d: `M${cx - 5},${cy - 5}l10,10m0,-10l-10,10` }));
  else shape.push(s("path", { d: `M${cx - 6},${cy}h12m-6,0v9m-3,-4l3,4l3,-4` }));
  const go = () => open(point.name);
  return s("g", { class: `marker ${point.action}`, tabindex: 0, role: "button", "aria-label": said,
    click: go, keydown: (e) => { if (e.key === "Enter") go(); } }, s("title", {}, said), shape);
}

/** The edit budget of each step as a line, the edits that were applied as bars. */
function scheduleChart(run) {
  const steps = run.entries.filter((e) => "applied" in e);
  const top = Math.max(1, ...steps.map((e) => Math.max(e.budget || 0, e.applied)));
  const ticks = [0, Math.ceil(top / 2), top].filter((t, i, all) => all.indexOf(t) === i);
  const { picture, x, y, bottom, width } = plot("Edit budget and applied edits by step", 180,
    Math.max(1, ...steps.map((e) => e.step)) + 0.5, ticks, String, top);
  const thick = Math.min(26, (width - LEFT - RIGHT) / (steps.length + 1) / 1.6);
  for (const e of steps) {
    picture.append(s("rect", { x: x(e.step) - thick / 2, y: y(e.applied), width: thick,
      height: bottom - y(e.applied), class: `bar ${e.action}` },
    s("title", {}, `${e.name}: ${e.applied} of ${e.budget ?? "any number of"} edits, ${actionWord(e.action)}`)));
  }
  const budgets = steps.filter((e) => e.budget !== null).map((e) => [e.step - 0.5, e.budget]);
  if (budgets.length) {
    const last = steps.at(-1);
    picture.append(s("path", { d: stairs([...budgets, [last.step + 0.5, last.budget ?? 0]], x, y), class: "budget" }));
  }
  return picture;
}

/** A bar as wide as its share of the largest value. */
function bar(value, largest) {
  const width = largest ? Math.max(value ? 1 : 0, (100 * value) / largest) : 0;
  return s("svg", { viewBox: "0 0 100 10", class: "bar-cell", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { x: 0, y: 1, width, height: 8, class: "bar plain" }));
}
