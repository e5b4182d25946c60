// The chart of one link: what came true, the forecast with its interval, and the champion's forecast.
"use strict";

const data = JSON.parse(document.getElementById("series").textContent);
const place = document.getElementById("chart");
const told = document.getElementById("chart-values");
const shown = new Set(["actual", "forecast", "interval", "champion"]);
const names = ["actual", "forecast", "champion", "lower", "upper"].filter((name) => data[name]);
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const FIRST_SHOWN_SECONDS = 2 * 86400;
let chart;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function isShown(name) {
  return shown.has(name === "lower" || name === "upper" ? "interval" : name);
}

function value(name, at) {
  const found = data[name] && data[name][at];
  return found === null || found === undefined ? "none" : number.format(found);
}

function tellValues(u) {
  const at = u.cursor.idx;
  if (at === null || at === undefined) return;
  const time = new Date(data.times[at] * 1000).toISOString().slice(0, 16).replace("T", " ");
  const parts = [`actual ${value("actual", at)}`, `forecast ${value("forecast", at)}`];
  if (data.lower) parts.push(`interval ${value("lower", at)} to ${value("upper", at)}`);
  if (data.champion) parts.push(`champion ${value("champion", at)}`);
  told.textContent = `${time} UTC: ${parts.join(", ")} ${data.unit}`;
}

function dayOrHour(u, splits) {
  return splits.map((seconds) => {
    const [day, time] = new Date(seconds * 1000).toISOString().split("T");
    return time.startsWith("00:00") ? day.slice(5) : time.slice(0, 5);
  });
}

function draw() {
  const last = data.times[data.times.length - 1];
  const begin = Math.max(data.times[0], last - FIRST_SHOWN_SECONDS);
  const span = chart ? { min: chart.scales.x.min, max: chart.scales.x.max } : { min: begin, max: last };
  if (chart) chart.destroy();
  const lines = {
    actual: { stroke: colour("--text"), width: 1.2 },
    forecast: { stroke: colour("--s1"), width: 1.8 },
    champion: { stroke: colour("--s2"), width: 1.4, dash: [6, 3] },
    lower: { stroke: "transparent", width: 0 },
    upper: { stroke: "transparent", width: 0 },
  };
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const interval = [names.indexOf("upper") + 1, names.indexOf("lower") + 1];
  chart = new uPlot(
    {
      width: place.clientWidth,
      height: place.clientWidth < 500 ? 260 : 340,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      axes: [{ ...axis, space: 60, values: dayOrHour }, { ...axis, size: 66, values: (u, splits) => splits.map((each) => number.format(each)) }],
      series: [{}, ...names.map((name) => ({ ...lines[name], show: isShown(name), points: { show: false } }))],
      bands: data.lower ? [{ series: interval, fill: `${colour("--s1")}38` }] : [],
      hooks: { setCursor: [tellValues] },
    },
    [data.times, ...names.map((name) => data[name])],
    place,
  );
  chart.setScale("x", span);
}

function zoom(factor) {
  const { min, max } = chart.scales.x;
  const at = chart.cursor.idx;
  const middle = at !== null && at !== undefined ? data.times[at] : (min + max) / 2;
  const half = ((max - min) * factor) / 2;
  const [first, last] = [data.times[0], data.times[data.times.length - 1]];
  chart.setScale("x", { min: Math.max(first, middle - half), max: Math.min(last, middle + half) });
}

function moveCursor(to) {
  const at = Math.min(Math.max(to, 0), data.times.length - 1);
  const { min, max } = chart.scales.x;
  const time = data.times[at];
  if (time < min || time > max) {
    const shift = time < min ? time - min : time - max;
    chart.setScale("x", { min: min + shift, max: max + shift });
  }
  // uPlot sets a scale in a microtask; the position is right after that one.
  queueMicrotask(() => {
    const height = data.actual[at] ?? data.forecast[at];
    chart.setCursor({ left: chart.valToPos(time, "x"), top: height === null ? 0 : chart.valToPos(height, "y") });
  });
}

draw();
place.addEventListener("keydown", (event) => {
  const at = chart.cursor.idx ?? data.times.length - 1;
  const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: data.times.length - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  moveCursor(moves[event.key]);
});
for (const button of document.querySelectorAll("button[data-zoom]")) {
  button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
}
for (const box of document.querySelectorAll("input[data-series]")) {
  box.addEventListener("change", () => {
    if (box.checked) shown.add(box.dataset.series);
    else shown.delete(box.dataset.series);
    draw();
  });
}
new ResizeObserver(() => {
  if (place.clientWidth !== chart.width) draw();
}).observe(place);
addEventListener("storage", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
