"use strict";

// Curves: figures against network evaluations. The page holds this and then report_page.js as one
// script; elements and numbers are made by functions of the latter.

const CHART = { width: 380, height: 270, left: 52, right: 368, top: 34, bottom: 222 };
const REACH = 1.5; // spans of the curve within which a method without a network is on the scale
const LINE = 14; // between labels
const NAME = 30; // characters that a label has room for

function showCurves() {
  const charts = [...metrics.keys()].map(chart).filter(Boolean);
  byId("charts").append(...charts);
  byId("curves").hidden = charts.length === 0;
}

function chart(column) {
  const metric = metrics[column];
  const points = methods
    .filter((method) => isThere(method.figures[column]?.value))
    .map((method) => ({ name: method.name, nfe: method.nfe, ...method.figures[column] }));
  const curve = points.filter((point) => point.nfe !== null).sort((a, b) => a.nfe - b.nfe);
  const flat = points.filter((point) => point.nfe === null);
  if (curve.length === 0) return null;
  const [low, high] = verticalRange(curve, flat);
  const y = scale(low, high, CHART.bottom, CHART.top);
  const x = horizontalScale(curve.map((point) => point.nfe));
  return shape("svg", {
    viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img",
    "aria-label": `${metric.title} against network evaluations`,
  }, ...axes(metric, curve, x, y, low, high), ...flatLines(flat, metric, y, low, high),
  ...curveShapes(curve, metric, x, y));
}

const scale = (from, to, start, end) => (value) =>
  start + ((value - from) / (to - from)) * (end - start);

function horizontalScale(nfes) {
  let [from, to] = [Math.log(nfes[0]), Math.log(nfes.at(-1))];
  if (from === to) [from, to] = [from - 1, to + 1];
  const place = scale(from, to, CHART.left + 20, CHART.right - 24);
  return (nfe) => place(Math.log(nfe));
}

function verticalRange(curve, flat) {
  const bounds = curve.flatMap(({ low, value, high }) => [low ?? value, high ?? value]);
  let [low, high] = [Math.min(...bounds), Math.max(...bounds)];
  const reach = high > low ? REACH * (high - low) : Infinity;
  const near = flat.map((point) => point.value)
    .filter((value) => value >= low - reach && value <= high + reach);
  [low, high] = [Math.min(low, ...near), Math.max(high, ...near)];
  const margin = (high - low) * 0.15 || Math.abs(high) * 0.05 || 1;
  return [low - margin, high + margin];
}

/** Round numbers between two, some five of them. */
function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, k) => (first + k) * step)
    .map((value) => [value, value.toFixed(digits)]);
}

function axes(metric, curve, x, y, low, high) {
  const { left, right, bottom, height } = CHART;
  const made = ticks(low, high).flatMap(([value, label]) => [
    shape("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
    shape("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, label),
  ]);
  made.push(shape("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  let last = -Infinity;
  for (const { nfe } of curve) {
    made.push(shape("line",
      { class: "axis", x1: x(nfe), x2: x(nfe), y1: bottom, y2: bottom + 5 }));
    if (x(nfe) - last < 24) continue; // its label would touch the one before
    made.push(shape("text", { x: x(nfe), y: bottom + 18, "text-anchor": "middle" }, String(nfe)));
    last = x(nfe);
  }
  made.push(
    shape("text", { x: (left + right) / 2, y: height - 10, "text-anchor": "middle" },
      "network evaluations (NFE), log scale"),
    shape("text", { class: "heading", x: 0, y: 14 }, `${withUnit(metric)} ${arrow(metric)}`));
  return made;
}

/** Dashed lines of methods without a network; one beyond the scale is an arrow at its edge. */
function flatLines(flat, metric, y, low, high) {
  const { left, right, top, bottom } = CHART;
  const marks = flat.map((point) => {
    const beyond = point.value > high ? " ↑" : point.value < low ? " ↓" : "";
    const at = Math.min(Math.max(y(point.value), top), bottom);
    const name = point.name.length > NAME ? `${point.name.slice(0, NAME - 1)}…` : point.name;
    return { point, beyond, at, text: `${name} ${write(point.value, metric)}${beyond}` };
  }).sort((a, b) => a.at - b.at);
  const lines = marks.filter(({ beyond }) => !beyond).map(({ at }) =>
    shape("line", { class: "baseline", x1: left, x2: right, y1: at, y2: at }));
  const places = labelPlaces(marks.map(({ at }) => at));
  return [...lines, ...marks.map(({ point, text }, k) =>
    shape("text", { class: "halo", x: right - 2, y: places[k], "text-anchor": "end" }, text,
      shape("title", {}, tooltip(point, metric))))];
}

/** Heights of labels above their lines, or below where the one before leaves no room. */
function labelPlaces(lines) {
  const places = [];
  for (const at of lines) {
    const free = (places.at(-1) ?? -Infinity) + LINE;
    places.push(at - 5 >= free ? at - 5 : Math.max(at + 13, free));
  }
  places.reduceRight((limit, place, k) => {
    places[k] = Math.min(place, limit);
    return places[k] - LINE;
  }, CHART.bottom - 5);
  return places;
}

function curveShapes(curve, metric, x, y) {
  const line = (points) => points.map(([a, b]) => `${a},${b}`).join(" ");
  const made = [];
  const banded = curve.filter(({ low, high }) => isThere(low) && isThere(high));
  if (banded.length === curve.length) {
    const upper = banded.map(({ nfe, high }) => [x(nfe), y(high)]);
    const lower = banded.map(({ nfe, low }) => [x(nfe), y(low)]);
    made.push(shape("polygon", { class: "band", points: line([...upper, ...lower.reverse()]) }));
  }
  made.push(shape("polyline",
    { class: "curve", points: line(curve.map(({ nfe, value }) => [x(nfe), y(value)])) }));
  for (const { nfe, low, high } of banded) {
    made.push(shape("line", { class: "interval", x1: x(nfe), x2: x(nfe), y1: y(low), y2: y(high) }));
  }
  let last = -Infinity;
  for (const point of curve) {
    const [cx, cy] = [x(point.nfe), y(point.value)];
    const group = shape("g", {}, shape("title", {}, tooltip(point, metric)),
      shape("circle", { class: "dot", cx, cy, r: 4 }),
      shape("circle", { class: "hit", cx, cy, r: 14 }));
    if (cx - last >= 36) { // else its label would touch the one before
      group.append(shape("text", {
        class: "halo value", x: cx, y: y(point.high ?? point.value) - 8, "text-anchor": "middle",
      }, write(point.value, metric)));
      last = cx;
    }
    made.push(group);
  }
  return made;
}

const tooltip = (point, metric) =>
  `${point.name}: ${write(point.value, metric)} ${metric.unit} ${interval(point, metric)}`;
