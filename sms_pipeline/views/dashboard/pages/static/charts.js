// Draws charts with Plotly. Values, ticks and texts come from the server, and the
// report shows the same ones.

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
/** Of a letter of a tick, between two ticks, and beside the plot. */
const LETTER_PIXELS = 7.5;
const GAP_PIXELS = 14;
const MARGIN_PIXELS = 64;
/** A label in this last part of an axis stands on the left of its mark. */
const LATE = 0.75;
const LABEL_HEIGHTS = [0.34, 0.2, 0.06];
const SERIES = {
  delivered: { fill: "tozeroy", colour: "accent", soft: "accent-soft", width: 2 },
  "not delivered": { fill: "tonexty", colour: "bad", soft: "bad", width: 0 },
  attempts: { colour: "muted", width: 1 },
};

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
    tickangle: 0,
    tickfont: { size: 13 },
  };
  return {
    autosize: true,
    dragmode: false,
    showlegend: false,
    hovermode: "closest",
    // Show the nearest point, wherever the pointer is.
    hoverdistance: -1,
    margin: { l: 8, r: 16, t: 12, b: 8 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("muted") },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    xaxis: { ...axis, showgrid: false, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...more,
  };
}

/** As many ticks as fit into the element without touching. */
function across({ range, ticks, labels }, element, place = (value) => value) {
  const [low, high] = range.map(place);
  const pixels = Math.max(element.clientWidth - MARGIN_PIXELS, 1);
  const room = Math.max(...labels.map((label) => label.length)) * LETTER_PIXELS + GAP_PIXELS;
  const shown = [];
  ticks.forEach((tick, index) => {
    const at = ((place(tick) - low) / (high - low)) * pixels;
    if (!shown.length || at - shown.at(-1).at >= room) shown.push({ at, value: place(tick), label: labels[index] });
  });
  return { range: [low, high], tickvals: shown.map(({ value }) => value), ticktext: shown.map(({ label }) => label) };
}

const up = ({ range, ticks, labels }) => ({ range, tickvals: ticks, ticktext: labels });

const told = (texts) => ({ customdata: texts, hovertemplate: "%{customdata}<extra></extra>" });

const legend = {
  orientation: "h",
  traceorder: "normal",
  x: 0,
  y: 1.02,
  xanchor: "left",
  yanchor: "bottom",
  itemclick: false,
  itemdoubleclick: false,
};

export function drawThroughput(element, { throughput: chart }) {
  if (!chart) return;
  const x = [...chart.starts, chart.end];
  let below = x.map(() => 0);
  const traces = Object.entries(chart.series).map(([name, rates]) => {
    const { fill, colour: line, soft, width } = SERIES[name];
    const values = [...rates, rates.at(-1)];
    // Messages not delivered are stacked on those delivered.
    const y = fill ? values.map((value, index) => value + below[index]) : values;
    if (fill) below = y;
    return {
      x,
      y,
      name,
      mode: "lines",
      line: { color: colour(line), width, shape: "hv" },
      ...(fill ? { fill, fillcolor: colour(soft) } : {}),
      ...told([...chart.texts, chart.texts.at(-1)]),
    };
  });
  const shapes = chart.bands.map(band);
  draw(element, traces, layout(across(chart.across, element), up(chart.up), { shapes, showlegend: true, legend }));
}

const CURVES = {
  reached: () => ({ color: colour("good"), width: 2.5 }),
  "on the phone": () => ({ color: colour("accent"), width: 1.5 }),
  forecast: () => ({ color: colour("muted"), width: 1.5, dash: "dash" }),
};

export function drawReach(element, { reach: chart }) {
  if (!chart) return;
  const end = chart.across.range[1];
  const traces = Object.entries(chart.series).map(([name, y]) => ({
    x: chart.seconds,
    y,
    name,
    mode: "lines",
    line: CURVES[name](),
    ...told(chart.texts),
  }));
  const shapes = [
    ...chart.bands.map(band),
    ...chart.marks.map((mark) => rule(mark.seconds, { y0: 0, y1: mark.share })),
  ];
  // Below the curve, one under the other.
  const annotations = chart.marks.map((mark, index) => {
    return label(mark.text, mark.seconds / end, {
      x: mark.seconds,
      y: LABEL_HEIGHTS[index % LABEL_HEIGHTS.length],
      yanchor: "middle",
    });
  });
  const showlegend = "on the phone" in chart.series;
  draw(element, traces, layout(across(chart.across, element), up(chart.up), { shapes, annotations, showlegend, legend }));
}

export function drawDeliveryTimes(element, { delivery_times: chart }) {
  if (!chart) return;
  const traces = [chart, ...chart.beside].flatMap((bars, index) => histogram(bars, index));
  const shapes = chart.marks.map((mark) => rule(Math.log10(mark.seconds), { yref: "paper", y0: 0, y1: 1 }));
  const xaxis = across(chart.across, element, Math.log10);
  const [from, to] = xaxis.range;
  const annotations = chart.marks.map((mark, index) => {
    const x = Math.log10(mark.seconds);
    const where = { x, yref: "paper", y: 1 - 0.12 * index, yanchor: "top" };
    return label(mark.text, (x - from) / (to - from), where);
  });
  draw(element, traces, layout(xaxis, up(chart.up), { shapes, annotations, bargap: 0, barmode: "overlay", showlegend: traces.length > 1, legend }));
}

/** Bars; those of another histogram are seen through. */
function histogram({ shortest, longest, series, texts }, index) {
  const low = shortest.map(Math.log10);
  const high = longest.map(Math.log10);
  return Object.entries(series).map(([name, y]) => ({
    type: "bar",
    x: low.map((from, place) => (from + high[place]) / 2),
    y,
    name,
    width: low.map((from, place) => high[place] - from),
    marker: { color: colour(COLOURS[index]), line: { width: 0 } },
    opacity: index ? 0.6 : 1,
    ...told(texts),
  }));
}

/** A time in which something went wrong. */
function band({ start, end, text }) {
  return {
    type: "rect",
    layer: "below",
    x0: start,
    x1: end,
    yref: "paper",
    y0: 0,
    y1: 1,
    line: { width: 0 },
    fillcolor: colour("bad"),
    opacity: 0.18,
    label: { text, textposition: "top left", font: { size: 11, color: colour("muted") } },
  };
}

function rule(x, where) {
  return { type: "line", x0: x, x1: x, ...where, line: { color: colour("muted"), width: 1, dash: "dot" } };
}

/** Beside its mark, which is `part` of the way along the axis. */
function label(text, part, where) {
  const side = part > LATE ? { xanchor: "right", xshift: -4 } : { xanchor: "left", xshift: 4 };
  return { text, ...where, ...side, showarrow: false, bgcolor: colour("card"), font: { size: 13, color: colour("ink") } };
}

async function draw(element, traces, layout) {
  await Plotly.react(element, traces, layout, CONFIG);
  // With it a drawing fits on paper of any size, too.
  for (const svg of element.querySelectorAll(".main-svg")) {
    svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
  }
}

// Several runs

const COLOURS = ["accent", "warn"];

/** Two runs over each other. */
export function drawLines(element, chart, { shape = "linear", logarithmic = false }) {
  const place = logarithmic ? Math.log10 : (value) => value;
  const traces = chart.lines.map(({ name, x, y, texts }, index) => ({
    x: x.map(place),
    y,
    name: shortened(name),
    mode: "lines",
    line: { color: colour(COLOURS[index]), width: 2.5, shape, dash: index ? "dash" : "solid" },
    ...told(texts.map((text) => `${shortened(name)}<br>${text}`)),
  }));
  draw(element, traces, layout(across(chart.across, element, place), up(chart.up), { showlegend: true, legend }));
}

const LONGEST_NAME = 24;

/** As Plotly takes it: no markup, and cut where it is long. */
function shortened(name) {
  const cut = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
  return cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Of the axes of trends. */
const UNITS = { p95: { ticksuffix: " s" }, reach: { tickformat: ".1~%" }, rate: { ticksuffix: "/s" } };

/** A figure by run. */
export function drawTrend(element, key, runs) {
  const traces = [
    {
      x: runs.map((_, index) => index),
      y: runs.map((run) => run.values[key]),
      mode: "lines+markers",
      line: { color: colour("accent"), width: 1.5 },
      marker: { size: 8 },
      ...told(runs.map((run) => `Run ${run.run}: ${run.texts[key]}`)),
    },
  ];
  const ticks = runs.map((_, index) => index);
  const axis = { range: [-0.5, runs.length - 0.5], ticks, labels: runs.map((run) => `${run.run}`) };
  const yaxis = { rangemode: "tozero", ...UNITS[key] };
  draw(element, traces, layout(across(axis, element), yaxis));
}
