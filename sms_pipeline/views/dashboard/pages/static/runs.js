// The list of runs.

import { byId, fill, follow, moment, newBar, showState } from "./page.js";

const before = new URLSearchParams(location.search).get("before");

function verdict(run) {
  const element = document.createElement("span");
  element.append(Object.assign(document.createElement("b"), { textContent: run.verdict, className: run.tone }));
  if (run.cure) element.append(Object.assign(document.createElement("small"), { textContent: run.cure }));
  element.className = "verdict";
  return element;
}

function row(run) {
  const link = document.createElement("a");
  link.href = `/runs/${run.run}`;
  link.textContent = run.name ? `Run ${run.run} · ${run.name}` : `Run ${run.run}`;
  const state = document.createElement("span");
  showState(state, run);
  return [
    link,
    moment(run.started_at),
    state,
    newBar(run),
    verdict(run),
    ...run.shown,
  ];
}

function show({ runs, older }) {
  byId("none").hidden = runs.length > 0;
  byId("runs").hidden = runs.length === 0;
  fill(byId("runs"), runs.map(row));
  for (const line of byId("runs").tBodies[0].rows) line.className = "link";
  byId("older").hidden = older === null;
  byId("older").href = `/?before=${older}`;
  byId("newest").hidden = before === null;
}

follow(() => (before ? `/api/runs?before=${encodeURIComponent(before)}` : "/api/runs"), show);
