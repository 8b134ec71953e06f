// The three charts of a run, drawn by Plotly in the page's own colours.

import { count, duration, percent, rate, seconds } from "./page.js";

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
const TICK_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
const MOST_TICKS = 10;
const TICK_PIXELS = 62;
const LABEL_HEIGHTS = [0.34, 0.2, 0.06];
const FINE_TIMES = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 18000,
  36000, 86400,
];
const COARSE_TIMES = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36000];

const dark = matchMedia("(prefers-color-scheme: dark)");

export const onThemeChange = (redraw) => dark.addEventListener("change", redraw);

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function layout(xaxis, yaxis, more = {}) {
  const axis = {
    fixedrange: true,
    gridcolor: colour("line"),
    linecolor: colour("line"),
    zeroline: false,
    automargin: true,
    tickfont: { size: 13 },
  };
  return {
    autosize: true,
    dragmode: false,
    showlegend: false,
    hovermode: "x unified",
    margin: { l: 8, r: 16, t: 12, b: 8 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("muted") },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    xaxis: { ...axis, showgrid: false, ...xaxis },
    yaxis: { ...axis, rangemode: "tozero", ...yaxis },
    ...more,
  };
}

/** An axis from 0 to `end` seconds with ticks at round times. */
function timeAxis(end, element) {
  const wanted = Math.min(element.clientWidth / TICK_PIXELS, MOST_TICKS);
  const step = TICK_STEPS.find((each) => end / each <= wanted) ?? TICK_STEPS.at(-1);
  const tickvals = [];
  for (let at = 0; at <= end; at += step) tickvals.push(at);
  return { range: [0, Math.max(end, 1)], tickangle: 0, tickvals, ticktext: tickvals.map(tick) };
}

export function drawThroughput(element, { timeline }) {
  if (!timeline) return;
  const trace = {
    x: timeline.rate_seconds,
    y: timeline.rates,
    customdata: timeline.rates.map(rate),
    hovertemplate: "%{customdata}/s<extra></extra>",
    mode: timeline.rates.length > 1 ? "lines" : "markers",
    line: { color: colour("accent"), width: 2.5 },
    fill: "tozeroy",
    fillcolor: colour("accent-soft"),
  };
  const top = Math.max(...timeline.rates, 1);
  draw(element, [trace], layout(timeAxis(timeline.end, element), { range: [0, top * 1.1], tickformat: "~s" }));
}

export function drawReach(element, { timeline }) {
  if (!timeline) return;
  const trace = {
    x: timeline.reach_seconds,
    y: timeline.reached,
    customdata: timeline.reached.map((share) => percent(share)),
    hovertemplate: "%{customdata} reached<extra></extra>",
    mode: "lines",
    line: { color: colour("good"), width: 2.5 },
  };
  const marks = timeline.marks.filter((mark) => mark.seconds !== null);
  const shapes = marks.map((mark) => ({
    type: "line",
    x0: mark.seconds,
    x1: mark.seconds,
    y0: 0,
    y1: mark.share,
    line: { color: colour("muted"), width: 1, dash: "dot" },
  }));
  // Below the curve, one under the other.
  const annotations = marks.map((mark, index) => ({
    x: mark.seconds,
    y: LABEL_HEIGHTS[index % LABEL_HEIGHTS.length],
    text: `${Math.round(mark.share * 100)} % · ${duration(mark.seconds)}`,
    xanchor: mark.seconds > timeline.end * 0.7 ? "right" : "left",
    yanchor: "middle",
    xshift: mark.seconds > timeline.end * 0.7 ? -3 : 3,
    showarrow: false,
    font: { size: 13, color: colour("ink") },
  }));
  const yaxis = { range: [0, 1.04], tickformat: ".0%", dtick: 0.25 };
  draw(element, [trace], layout(timeAxis(timeline.end, element), yaxis, { shapes, annotations }));
}

export function drawDeliveryTimes(element, { delivery_times: times, ...run }) {
  const x = times.to.map((to, index) => Math.log10(Math.sqrt(to * Math.max(times.from[index], to / 1.09))));
  const trace = {
    type: "bar",
    x,
    y: times.messages,
    width: Math.log10(2) / 8,
    customdata: times.to.map((to, index) => `${seconds(times.from[index])} to ${seconds(to)}: ${count(times.messages[index])}`),
    hovertemplate: "%{customdata}<extra></extra>",
    marker: { color: colour("accent"), line: { width: 0 } },
  };
  const marks = { p50: run.p50_delivery_seconds, p95: run.p95_delivery_seconds, p99: run.p99_delivery_seconds };
  const known = Object.entries(marks).filter(([, value]) => value);
  const shapes = known.map(([, value]) => ({
    type: "line",
    x0: Math.log10(value),
    x1: Math.log10(value),
    yref: "paper",
    y0: 0,
    y1: 1,
    line: { color: colour("muted"), width: 1, dash: "dot" },
  }));
  const annotations = known.map(([name, value], index) => ({
    x: Math.log10(value),
    yref: "paper",
    y: 1 - 0.1 * index,
    text: name,
    xanchor: "left",
    yanchor: "top",
    xshift: 3,
    showarrow: false,
    font: { size: 13, color: colour("ink") },
  }));
  const lowest = x.length ? x[0] - 0.1 : -2;
  const highest = x.length ? x.at(-1) + 0.1 : 1;
  const ticks = ticksBetween(10 ** lowest, 10 ** highest, element.clientWidth / TICK_PIXELS);
  const xaxis = { range: [lowest, highest], tickangle: 0, tickvals: ticks.map(Math.log10), ticktext: ticks.map(tick) };
  draw(element, [trace], layout(xaxis, { tickformat: "~s" }, { shapes, annotations, hovermode: "closest", bargap: 0 }));
}

function ticksBetween(low, high, wanted) {
  const fine = FINE_TIMES.filter((time) => time >= low && time <= high);
  return fine.length <= wanted ? fine : COARSE_TIMES.filter((time) => time >= low && time <= high);
}

/** A round time, as short as it can be said. */
function tick(value) {
  if (value < 1 && value > 0) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value} s`;
  if (value % 60) return duration(value);
  if (value < 3600) return `${value / 60} min`;
  return value % 3600 ? `${Math.floor(value / 3600)} h ${(value % 3600) / 60}` : `${value / 3600} h`;
}

function draw(element, traces, layout) {
  Plotly.react(element, traces, layout, CONFIG);
}
