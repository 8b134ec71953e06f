// p95, reach and rate of the latest runs.

import { byId, fill, follow, momentCell } from "./page.js";
import { drawTrend, onThemeChange } from "./charts.js";

const ALL = "";

let latest = [];

function show({ runs }) {
  latest = runs;
  offerNames(runs);
  draw();
}

/** Runs of one name are those that can be compared. */
function offerNames(runs) {
  const names = [...new Set(runs.map(({ name }) => name).filter(Boolean))].sort();
  const offered = [...byId("name").options].slice(1).map((one) => one.value);
  byId("named").hidden = names.length === 0;
  if (byId("name").options.length && names.join("\n") === offered.join("\n")) return;
  const chosen = byId("name").value;
  byId("name").replaceChildren(new Option("anything", ALL), ...names.map((name) => new Option(name, name)));
  byId("name").value = names.includes(chosen) ? chosen : ALL;
}

function draw() {
  const chosen = byId("name").value;
  const runs = latest.filter(({ name }) => chosen === ALL || name === chosen);
  byId("none").hidden = runs.length > 0;
  byId("count").textContent = runs.length || "";
  fill(byId("runs"), [...runs].reverse().map(row));
  if (!runs.length) return;
  for (const key of ["p95", "reach", "rate"]) drawTrend(byId(key), key, runs);
}

function row(run) {
  const link = document.createElement("a");
  link.href = `/runs/${run.run}`;
  link.className = "cut";
  link.textContent = link.title = [`Run ${run.run}`, run.name, run.tags].filter(Boolean).join(" · ");
  return [link, momentCell(run.started_at), ...run.shown];
}

byId("name").addEventListener("change", draw);
onThemeChange(draw);
follow(() => "/api/trends", show);
