// Draws the three charts of a run with Plotly. Values, ticks and texts come from the server, and the
// report shows the same ones.

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
const TICK_PIXELS = 62;
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

/** As many ticks as fit into the element. */
function across({ range, ticks, labels }, element, place = (value) => value) {
  const every = Math.ceil((ticks.length * TICK_PIXELS) / Math.max(element.clientWidth, TICK_PIXELS));
  const shown = (_, index) => index % every === 0;
  return { range: range.map(place), tickvals: ticks.map(place).filter(shown), ticktext: labels.filter(shown) };
}

const up = ({ range, ticks, labels }) => ({ range, tickvals: ticks, ticktext: labels });

const told = (texts) => ({ customdata: texts, hovertemplate: "%{customdata}<extra></extra>" });

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
  const shapes = chart.bands.map(band);
  draw(element, traces, layout(across(chart.across, element), up(chart.up), { shapes, showlegend: true, legend }));
}

export function drawReach(element, { reach: chart }) {
  if (!chart) return;
  const end = chart.across.range[1];
  const traces = Object.entries(chart.series).map(([name, y]) => ({
    x: chart.seconds,
    y,
    name,
    mode: "lines",
    line:
      name === "forecast"
        ? { color: colour("muted"), width: 1.5, dash: "dash" }
        : { color: colour("good"), width: 2.5 },
    ...told(chart.texts),
  }));
  const shapes = [
    ...chart.bands.map(band),
    ...chart.marks.map((mark) => rule(mark.seconds, { y0: 0, y1: mark.share })),
  ];
  // Below the curve, one under the other.
  const annotations = chart.marks.map((mark, index) => {
    const late = mark.seconds > end * 0.7;
    return label(mark.text, {
      x: mark.seconds,
      y: LABEL_HEIGHTS[index % LABEL_HEIGHTS.length],
      xanchor: late ? "right" : "left",
      yanchor: "middle",
      xshift: late ? -3 : 3,
    });
  });
  draw(element, traces, layout(across(chart.across, element), up(chart.up), { shapes, annotations }));
}

export function drawDeliveryTimes(element, { delivery_times: chart }) {
  if (!chart) return;
  const low = chart.shortest.map(Math.log10);
  const high = chart.longest.map(Math.log10);
  const traces = Object.entries(chart.series).map(([name, y]) => ({
    type: "bar",
    x: low.map((from, index) => (from + high[index]) / 2),
    y,
    name,
    width: low.map((from, index) => high[index] - from),
    marker: { color: colour("accent"), line: { width: 0 } },
    ...told(chart.texts),
  }));
  const shapes = chart.marks.map((mark) => rule(Math.log10(mark.seconds), { yref: "paper", y0: 0, y1: 1 }));
  const annotations = chart.marks.map((mark, index) =>
    label(mark.text, {
      x: Math.log10(mark.seconds),
      yref: "paper",
      y: 1 - 0.1 * index,
      xanchor: "left",
      yanchor: "top",
      xshift: 3,
    }),
  );
  const xaxis = across(chart.across, element, Math.log10);
  draw(element, traces, layout(xaxis, up(chart.up), { shapes, annotations, bargap: 0 }));
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

function label(text, where) {
  return { text, ...where, showarrow: false, font: { size: 13, color: colour("ink") } };
}

function draw(element, traces, layout) {
  Plotly.react(element, traces, layout, CONFIG);
}
