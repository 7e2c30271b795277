// Making elements. Whatever is shown is put in as text, so that markup in it stays text.

const SVG = "http://www.w3.org/2000/svg";
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text whose control and direction characters can be seen and do nothing. */
function visible(text) {
  return String(text)
    .replaceAll("\r\n", "\n")
    .replace(UNSEEN, (c) => ({ "\u001b": "\u241b", "\r": "\u240d" })[c] || "\ufffd");
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : visible(value));
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false)
    .map((c) => (c instanceof Node ? c : visible(c))));
  return element;
}

/** An HTML element: h("p", {class: "note"}, "text", otherElement). */
function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An SVG element. */
function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function table(head, rows, props = {}) {
  return h("div", { class: "scroll" }, h("table", props,
    h("thead", {}, h("tr", {}, head.map((c) => (c instanceof Node && c.tagName === "TH" ? c : h("th", { scope: "col" }, c))))),
    h("tbody", {}, rows)));
}

function row(...cells) {
  return h("tr", {}, cells.map((c) => h("td", {}, c)));
}

function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), children);
}

function note(...children) {
  return h("p", { class: "note" }, children);
}

/** Side-by-side rows of a diff; see report/diff.py. */
function diff(rows) {
  if (!rows.length) return note("Nothing differs.");
  const side = (from, kind) => [
    h("td", { class: "number" }, from ? from.number : ""),
    h("td", { class: `line ${from ? kind : "none"}` },
      from ? from.parts.map(([text, changed]) => (changed ? h("mark", {}, text) : text)) : ""),
  ];
  const columns = ["number", "line", "number", "line"].map((name) => h("col", { class: name }));
  return h("div", { class: "scroll" }, h("table", { class: "diff" }, h("colgroup", {}, columns),
    h("thead", {}, h("tr", {}, h("th", { colspan: 2 }, "before"), h("th", { colspan: 2 }, "after"))),
    h("tbody", {}, rows.map((r) => (r.kind === "gap"
      ? h("tr", { class: "gap" }, h("td", { colspan: 4 }, `${r.skipped} unchanged lines`))
      : h("tr", { class: r.kind }, side(r.left, "old"), side(r.right, "new")))))));
}
