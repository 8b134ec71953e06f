// The list of runs.

import { byId, fill, follow, momentCell, newBar, showState } from "./page.js";

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
  link.textContent = link.title = run.name ? `Run ${run.run} · ${run.name}` : `Run ${run.run}`;
  link.className = "cut";
  const state = document.createElement("span");
  showState(state, run);
  return [
    link,
    momentCell(run.started_at),
    state,
    newBar(run),
    verdict(run),
    ...run.shown,
    box(run),
  ];
}

/** Numbers of runs to be compared, the one that was chosen first at the beginning. */
let chosen = [];

function box(run) {
  const name = `Compare run ${run.run}`;
  const element = Object.assign(document.createElement("input"), { type: "checkbox", value: run.run, title: name });
  element.setAttribute("aria-label", name);
  element.toggleAttribute("checked", chosen.includes(run.run));
  return element;
}

function choose({ target }) {
  const number = Number(target.value);
  chosen = chosen.filter((one) => one !== number);
  if (target.checked) chosen = [...chosen, number].slice(-2);
  for (const one of byId("runs").querySelectorAll("input")) {
    one.checked = chosen.includes(Number(one.value));
    one.toggleAttribute("checked", one.checked);
  }
  byId("compare").disabled = chosen.length !== 2;
}

function show({ runs, older }) {
  byId("none").hidden = runs.length > 0;
  byId("runs").hidden = runs.length === 0;
  byId("compare").hidden = runs.length < 2 && !chosen.length;
  fill(byId("runs"), runs.map(row));
  for (const line of byId("runs").tBodies[0].rows) line.className = "link";
  byId("older").hidden = older === null;
  byId("older").href = `/?before=${older}`;
  byId("newest").hidden = before === null;
}

byId("runs").addEventListener("change", choose);
byId("compare").addEventListener("click", () => {
  const [first, second] = [...chosen].sort((a, b) => a - b);
  location.assign(`/compare/${first}/${second}`);
});
follow(() => (before ? `/api/runs?before=${encodeURIComponent(before)}` : "/api/runs"), show);
