// Four small drawings in SVG, each with its figures as a table beside it; patterns and words, never color alone. Libraries
// draw on a canvas, which nobody can read aloud, or write markup as text, which the page's policy forbids.

import { word } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const language = document.documentElement.lang + "-IN";
const number = new Intl.NumberFormat(language);
const KINDS = ["admit", "deny", "refer"];

function draw(name, attributes, ...children) {
  const part = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
  part.append(...children);
  return part;
}

function text(tag, words, className = "") {
  const part = document.createElement(tag);
  part.textContent = words;
  if (className) part.className = className;
  return part;
}

function picture(width, height, label, ...children) {
  return draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "audit-chart", direction: "ltr" }, ...children);
}

function table(heads, rows) {
  const details = document.createElement("details");
  const grid = Object.assign(document.createElement("table"), { className: "table" });
  const head = grid.createTHead().insertRow();
  for (const title of heads) head.append(Object.assign(text("th", title), { scope: "col" }));
  const body = grid.createTBody();
  for (const cells of rows) for (const [n, cell] of cells.entries()) (n ? body.rows[body.rows.length - 1] : body.insertRow()).insertCell().textContent = cell;
  const scroll = text("div", "", "scroll");
  scroll.tabIndex = 0;
  scroll.append(grid);
  details.append(text("summary", word("table")), scroll);
  return details;
}

function legend() {
  const list = text("ul", "", "list audit-legend");
  for (const kind of KINDS) {
    const mark = draw("svg", { viewBox: "0 0 10 10", width: 14, height: 14, "aria-hidden": "true" }, draw("rect", { width: 10, height: 10, class: kind }));
    const item = text("li", "");
    item.append(mark, ` ${word(kind)}`);
    list.append(item);
  }
  return list;
}

function moment(time, stepSeconds) {
  const options = stepSeconds < 3600 ? { hour: "2-digit", minute: "2-digit" } : stepSeconds < 7200 ? { hour: "2-digit", minute: "2-digit" } : { weekday: "short", hour: "2-digit" };
  return new Intl.DateTimeFormat(language, options).format(new Date(time));
}

const WIDTH = 480;
const HEIGHT = 170;
const FOOT = 24;

function columns(place, label, steps, stepSeconds, kinds) {
  const sums = steps.map((step) => kinds.reduce((sum, kind) => sum + step[kind], 0));
  const most = Math.max(1, ...sums);
  const wide = WIDTH / steps.length;
  const bars = steps.flatMap((step, n) => {
    let y = HEIGHT;
    return kinds.map((kind) => {
      const height = (step[kind] / most) * (HEIGHT - 14);
      y -= height;
      return draw("rect", { x: n * wide + 1, y, width: wide - 2, height, class: kind });
    });
  });
  const marks = steps.filter((_, n) => n % 6 === 0).map((step, n) => {
    const mark = draw("text", { x: n * 6 * wide + 1, y: HEIGHT + FOOT - 7, class: "mark" });
    mark.textContent = moment(step.start, stepSeconds);
    return mark;
  });
  const top = draw("text", { x: 1, y: 11, class: "mark" });
  top.textContent = number.format(most);
  place.append(picture(WIDTH, HEIGHT + FOOT, label, draw("path", { d: `M0 ${HEIGHT}h${WIDTH}M0 14h${WIDTH}`, class: "rule" }), ...bars, top, ...marks));
  return sums.some(Boolean);
}

export function decisions(place, { steps, step_seconds: seconds }) {
  place.replaceChildren(legend());
  if (!columns(place, word("decisions"), steps, seconds, KINDS)) place.append(text("p", word("nothing"), "soft"));
  const heads = [word("start"), ...KINDS.map(word)];
  place.append(table(heads, steps.map((step) => [moment(step.start, seconds), ...KINDS.map((kind) => number.format(step[kind]))])));
}

export function growth(place, { steps, step_seconds: seconds, size, events }) {
  place.replaceChildren(text("p", word("total").replace("{n}", number.format(size)), "figure"));
  columns(place, word("growth"), steps, seconds, ["entries"]);
  const ends = ["enrolled", "withdrawn", "expired"].map((kind) => `${word(kind)}: ${number.format(events[kind] ?? 0)}`);
  place.append(text("p", ends.join(" · "), "soft"));
  place.append(table([word("start"), word("entries")], steps.map((step) => [moment(step.start, seconds), number.format(step.entries)])));
}

export function refusals(place, { refusals: found }) {
  place.replaceChildren();
  if (!found.length) return place.append(text("p", word("nothing"), "soft"));
  const most = Math.max(...found.map(({ count }) => count));
  const list = text("ul", "", "list audit-bars");
  for (const { decision, reason, count } of found) {
    const bar = picture(100, 6, `${reason}: ${count}`, draw("rect", { width: 100, height: 6, class: "rest" }), draw("rect", { width: (count / most) * 100, height: 6, class: decision }));
    bar.setAttribute("preserveAspectRatio", "none");
    const item = text("li", "");
    item.append(text("code", reason, "mono"), text("span", `${number.format(count)} · ${word(decision)}`), bar);
    list.append(item);
  }
  place.append(list);
}

function hours(milliseconds) {
  const minutes = Math.max(0, Math.round(milliseconds / 60_000));
  return word("hours").replace("{h}", number.format(Math.floor(minutes / 60))).replace("{m}", minutes % 60);
}

export function age(place, { until, retention }) {
  place.replaceChildren();
  const { held, overdue, oldest_enrolled_at: made, oldest_expires_at: end } = retention;
  if (!made) return place.append(text("p", word("no_template"), "soft"));
  const old = Date.parse(until) - Date.parse(made);
  const limit = Date.parse(end) - Date.parse(made);
  const label = word("age").replace("{age}", hours(old)).replace("{limit}", hours(limit));
  const most = Math.max(old, limit) * 1.05;
  const at = (value) => (value / most) * WIDTH;
  place.append(
    text("p", label, "figure"),
    picture(WIDTH, 60, label,
      draw("rect", { y: 15, width: WIDTH, height: 26, class: "rest" }),
      draw("rect", { y: 15, width: at(old), height: 26, class: old > limit ? "deny" : "admit" }),
      draw("path", { d: `M${at(limit)} 5v46`, class: "limit" })),
    text("p", word("held").replace("{n}", number.format(held)).replace("{late}", number.format(overdue)), overdue ? "" : "soft"),
  );
}
