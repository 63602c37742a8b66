"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const { metrics, methods, names, pictures } = report;

const ROWS = 200; // of the table at a time
const THUMBNAILS = 6; // worst and as many best
const SMALL = 128; // pixels of a picture that a thumbnail enlarges
const STAGE = 640; // the longest side of a picture that is enlarged, in CSS pixels
const MISSING = "–";

// ---- elements: a stranger's text only ever becomes a text node or an attribute, never markup

const byId = (id) => document.getElementById(id);

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const node = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

const shape = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** A long name's pieces, between which a line may end. */
const breakable = (text) => text.split(/(?<=[/_])/).flatMap((piece) => [piece, node("wbr")]);

const options = (labels, chosen) =>
  labels.map((label) => {
    const made = node("option", { value: label }, label);
    made.selected = label === chosen;
    return made;
  });

// ---- numbers: null, and what is not there at all, is missing

const isThere = (value) => value !== null && value !== undefined;
const write = (value, metric) => (isThere(value) ? value.toFixed(metric.digits) : MISSING);
const withUnit = (metric) => (metric.unit ? `${metric.title} (${metric.unit})` : metric.title);
const arrow = (metric) => (metric.better === "higher" ? "↑" : "↓");
const better = (metric, a, b) => (metric.better === "higher" ? a > b : a < b);

function interval(figure, metric) {
  if (!isThere(figure.low) || !isThere(figure.high)) return "";
  return `[${write(figure.low, metric)}, ${write(figure.high, metric)}]`;
}

/** The best figure of a metric; infinite, thus nobody's, where there is none. */
function bestFigure(column) {
  const values = methods.map((method) => method.figures[column]?.value).filter(isThere);
  return metrics[column].better === "higher" ? Math.max(...values) : Math.min(...values);
}

/** Names of methods, the best first: what a reader wants to see. Networks go before the others. */
function ranked() {
  const column = metrics.findIndex((_, k) =>
    methods.some((method) => method.nfe !== null && isThere(method.figures[k]?.value)));
  const value = (method) => method.figures[column]?.value;
  const group = (method) => (method.nfe === null ? 2 : isThere(value(method)) ? 0 : 1);
  const sign = metrics[column]?.better === "higher" ? -1 : 1;
  return methods
    .filter(({ name }) => name !== "degraded")
    .sort((a, b) => group(a) - group(b) || sign * (value(a) - value(b)) || 0)
    .map(({ name }) => name);
}

const ranking = ranked();
const bestOf = (labels) => ranking.find((name) => labels.includes(name));
const scored = methods.filter((method) => method.scores.some(isThere));
const scoredColumns = [...metrics.keys()].filter((column) =>
  scored.some((method) => isThere(method.scores[column])));
const rowOf = new Map(names.map((name, row) => [name, row]));
const pictureOf = new Map(pictures.map((picture, index) => [picture.name, index]));
const methodNamed = (name) => methods.find((method) => method.name === name);

// ---- title, facts and figures

function showHeader() {
  document.title = report.title;
  byId("title").append(report.title);
  for (const [what, value] of report.facts) {
    const text = isThere(value) ? String(value) : MISSING;
    byId("facts").append(node("div", {}, node("dt", {}, what),
      node("dd", {}, ...breakable(text))));
  }
  for (const [title, reason] of report.leftOut) {
    byId("left-out").lastElementChild.append(node("dt", {}, title), node("dd", {}, reason));
  }
  byId("left-out").hidden = report.leftOut.length === 0;
}

function showFigures() {
  const headings = metrics.map((metric) =>
    node("th", { scope: "col" }, `${withUnit(metric)} ${arrow(metric)}`));
  byId("figures").append(node("thead", {}, node("tr", {},
    node("th", { scope: "col" }, "Method"), node("th", { scope: "col" }, "NFE"), ...headings)));
  const best = metrics.map((_, column) => bestFigure(column));
  const counts = methods.flatMap((method) => method.figures.map((figure) => figure?.pictures ?? 0));
  const most = Math.max(...counts);
  const rows = methods.map((method) => node("tr", {},
    node("th", { scope: "row" }, method.name),
    node("td", {}, isThere(method.nfe) ? String(method.nfe) : MISSING),
    ...method.figures.map((figure, column) =>
      figureCell(figure, metrics[column], best[column], most))));
  byId("figures").append(node("tbody", {}, ...rows));
}

function figureCell(figure, metric, best, most) {
  if (!isThere(figure?.value)) return node("td", { class: "missing" }, MISSING);
  const cell = node("td", {}, write(figure.value, metric));
  if (figure.value === best) {
    cell.className = "best";
    cell.append(node("span", { class: "unseen" }, " (best)"));
  }
  const details = [interval(figure, metric)];
  if (isThere(figure.pictures) && figure.pictures !== most) {
    details.push(`of ${figure.pictures} pictures`);
  }
  cell.append(...details.filter(Boolean).map((text) => node("span", { class: "detail" }, text)));
  return cell;
}

// ---- the slider

const state = { index: 0, left: "degraded", right: ranking[0] };

/** What of a picture may be seen: label -> data URI. */
function viewsOf(picture) {
  const last = picture.path.length;
  return new Map([...picture.images,
    ...picture.path.map((uri, k) => [`path ${k + 1} of ${last}`, uri])]);
}

function show(changes) {
  Object.assign(state, changes);
  const picture = pictures[state.index];
  const views = viewsOf(picture);
  const labels = [...views.keys()];
  // what this picture lacks is not forgotten: the next may have it
  const pick = (wished, otherwise) =>
    [wished, ...otherwise, labels[0]].find((label) => views.has(label));
  const sides = {
    left: pick(state.left, ["degraded"]),
    right: pick(state.right, [...ranking, "clean"]),
  };
  for (const [side, label] of Object.entries(sides)) {
    byId(`${side}-image`).src = views.get(label);
    byId(`${side}-image`).alt = `${picture.name}, ${label}`;
    byId(`${side}-label`).textContent = label;
    byId(side).replaceChildren(...options(labels, label));
  }
  byId("picture").value = String(state.index);
  fit();
  showPictureScores(picture, Object.values(sides));
  showPath(picture, sides.right);
}

/** Enlarges by a whole number of the screen's own pixels, so that every pixel stays a square. */
function fit() {
  const { width, height } = pictures[state.index];
  const room = byId("pictures").clientWidth;
  const dots = Math.min(STAGE, room) * window.devicePixelRatio;
  const times = Math.max(1, Math.floor(dots / Math.max(width, height))) / window.devicePixelRatio;
  byId("compare").style.width = `${width * times}px`;
  byId("compare").style.aspectRatio = `${width} / ${height}`;
  byId("compare").classList.toggle("pixelated", width * times <= room);
}

/** Attributes of a thumbnail's image: what is smaller than it keeps its pixels. */
const small = ({ width, height }, src) =>
  ({ src, alt: "", class: Math.max(width, height) < SMALL ? "pixelated" : "smooth" });

function cut(percent) {
  byId("cut").value = percent;
  byId("compare").style.setProperty("--cut", `${percent}%`);
}

function showPictureScores(picture, chosen) {
  const row = rowOf.get(picture.name);
  const table = byId("picture-scores");
  table.replaceChildren();
  if (row === undefined || scoredColumns.length === 0) return;
  const headings = scoredColumns.map((column) =>
    node("th", { scope: "col" }, `${withUnit(metrics[column])} ${arrow(metrics[column])}`));
  table.append(node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Method"), ...headings)));
  const rows = scored.map((method) =>
    node("tr", chosen.includes(method.name) ? { class: "chosen" } : {},
      node("th", { scope: "row" }, method.name),
      ...scoredColumns.map((column) =>
        node("td", {}, write(method.scores[column]?.[row], metrics[column])))));
  table.append(node("tbody", {}, ...rows));
}

function showPath(picture, right) {
  const last = picture.path.length;
  byId("path").hidden = last === 0;
  byId("strip").replaceChildren(...picture.path.map((uri, k) => {
    const label = `path ${k + 1} of ${last}`;
    const caption = k === 0 ? "X₁" : k === last - 1 ? "X₀" : String(k + 1);
    const button = node("button", { type: "button", "aria-pressed": String(label === right) },
      node("img", small(picture, uri)), caption);
    button.addEventListener("click", () => show({ right: label }));
    return node("li", {}, button);
  }));
}

function startSlider() {
  if (pictures.length === 0) return;
  byId("pictures").hidden = false;
  byId("picture").append(...pictures.map(({ name }, k) => node("option", { value: k }, name)));
  byId("picture").addEventListener("change", () => show({ index: Number(byId("picture").value) }));
  for (const [id, step] of [["previous", pictures.length - 1], ["next", 1]]) {
    byId(id).addEventListener("click", () =>
      show({ index: (state.index + step) % pictures.length }));
  }
  for (const side of ["left", "right"]) {
    byId(side).addEventListener("change", () => show({ [side]: byId(side).value }));
  }
  const compare = byId("compare");
  const follow = (event) => {
    const { left, width } = compare.getBoundingClientRect();
    cut(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width)));
  };
  compare.addEventListener("pointerdown", (event) => {
    compare.setPointerCapture(event.pointerId);
    follow(event);
  });
  compare.addEventListener("pointermove", (event) => {
    if (compare.hasPointerCapture(event.pointerId)) follow(event);
  });
  byId("cut").addEventListener("input", () => cut(byId("cut").value));
  window.addEventListener("resize", fit);
  cut(50);
  show({});
}

// ---- worst and best of the pictures that are here

function showExtremes() {
  const method = methodNamed(byId("extremes-method").value);
  const column = method.scores.findIndex(isThere);
  const metric = metrics[column];
  const rated = pictures
    .map((picture, index) => ({
      picture, index,
      uri: new Map(picture.images).get(method.name),
      value: method.scores[column][rowOf.get(picture.name)],
    }))
    .filter(({ uri, value }) => uri && isThere(value))
    .sort((a, b) => (better(metric, b.value, a.value) ? -1 : 1));
  const count = Math.min(THUMBNAILS, Math.max(1, Math.floor(rated.length / 2)));
  const thumbnail = ({ picture, index, uri, value }) => {
    const link = node("a", { href: "#pictures", title: picture.name },
      node("img", small(picture, uri)),
      node("span", { class: "name" }, ...breakable(picture.name)),
      node("span", { class: "score" }, `${metric.title} ${write(value, metric)} ${metric.unit}`));
    link.addEventListener("click", () => show({ index, right: method.name }));
    return node("li", {}, link);
  };
  byId("worst").replaceChildren(...rated.slice(0, count).map(thumbnail));
  byId("best").replaceChildren(...rated.slice(-count).reverse().map(thumbnail));
  byId("extremes-note").textContent =
    `by ${metric.title}; pictures in this file: ${rated.length}`;
}

function startExtremes() {
  const seen = scored.filter(({ name }) =>
    pictures.some((picture) => new Map(picture.images).has(name) && rowOf.has(picture.name)));
  if (seen.length === 0) return;
  byId("extremes").hidden = false;
  const labels = seen.map(({ name }) => name);
  byId("extremes-method").append(...options(labels, bestOf(labels)));
  byId("extremes-method").addEventListener("change", showExtremes);
  showExtremes();
}

// ---- the table of all pictures

const sorting = { column: null, down: false }; // column: of metrics; "name"; null: as evaluated
let order = [];

const collator = new Intl.Collator("en", { numeric: true });

/** Rows in the order wished for; what is missing comes last in both directions. */
function sortedRows(method) {
  const wanted = byId("filter").value.toLowerCase();
  const rows = [...names.keys()].filter((row) => names[row].toLowerCase().includes(wanted));
  const { column, down } = sorting;
  if (column === null) return rows;
  const sign = down ? -1 : 1;
  if (column === "name") return rows.sort((a, b) => sign * collator.compare(names[a], names[b]));
  const values = method.scores[column] ?? [];
  const missing = (row) => (isThere(values[row]) ? 0 : 1);
  return rows.sort((a, b) => missing(a) - missing(b) || sign * (values[a] - values[b]) || a - b);
}

function showTable() {
  const method = methodNamed(byId("table-method").value);
  order = sortedRows(method);
  const columns = [["name", "Picture"],
    ...scoredColumns.map((column) => [column, withUnit(metrics[column])])];
  const headings = columns.map(([column, label]) => {
    const direction = sorting.down ? "descending" : "ascending";
    const button = node("button", { type: "button" }, label);
    button.addEventListener("click", () => sortBy(column));
    return node("th",
      { scope: "col", "aria-sort": column === sorting.column ? direction : "none" }, button);
  });
  byId("table").replaceChildren(
    node("thead", {}, node("tr", {}, ...headings)), node("tbody"));
  showMore();
}

function sortBy(column) {
  sorting.down = sorting.column === column && !sorting.down;
  sorting.column = column;
  showTable();
  const at = column === "name" ? 0 : scoredColumns.indexOf(column) + 1;
  byId("table").querySelectorAll("th button")[at].focus(); // the clicked one is gone
}

function showMore() {
  const method = methodNamed(byId("table-method").value);
  const body = byId("table").tBodies[0];
  const start = body.rows.length;
  body.append(...order.slice(start, start + ROWS).map((row) => tableRow(method, row)));
  const left = order.length - body.rows.length;
  byId("more").hidden = left === 0;
  byId("more").textContent = `Show ${Math.min(ROWS, left)} more of ${left}`;
}

function tableRow(method, row) {
  const name = names[row];
  const cell = node("td", { title: name });
  if (pictureOf.has(name)) {
    const link = node("a", { href: "#pictures" }, name);
    link.addEventListener("click", () =>
      show({ index: pictureOf.get(name), right: method.name }));
    cell.append(link);
  } else {
    cell.append(name);
  }
  return node("tr", {}, cell, ...scoredColumns.map((column) =>
    node("td", {}, write(method.scores[column]?.[row], metrics[column]))));
}

function startTable() {
  if (names.length === 0 || scored.length === 0) return;
  byId("all").hidden = false;
  const labels = scored.map(({ name }) => name);
  byId("table-method").append(...options(labels, bestOf(labels)));
  byId("table-method").addEventListener("change", showTable);
  byId("filter").addEventListener("input", showTable);
  byId("more").addEventListener("click", showMore);
  showTable();
}

showHeader();
showFigures();
showCurves();
startSlider();
startExtremes();
startTable();
