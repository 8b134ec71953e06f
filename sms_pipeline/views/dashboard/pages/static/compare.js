// Two runs beside each other.

import { byId, fill, follow, sentence } from "./page.js";
import { drawLines, onThemeChange } from "./charts.js";

const { first, second } = document.body.dataset;
const KINDS = { reach: {}, throughput: { shape: "hv" }, "delivery-times": { logarithmic: true } };

let latest = null;

function show(comparison) {
  latest = comparison;
  fill(byId("figures"), comparison.figures);
  fill(byId("settings"), comparison.settings);
  byId("settings").hidden = comparison.settings.length === 0;
  byId("same").hidden = comparison.settings.length > 0;
  byId("notes").hidden = comparison.notes.length === 0;
  byId("notes").replaceChildren(
    ...comparison.notes.map((text) => Object.assign(document.createElement("li"), { textContent: sentence(text) })),
  );
  draw(comparison);
}

function draw({ charts }) {
  for (const [id, kind] of Object.entries(KINDS)) if (charts[id]) drawLines(byId(id), charts[id], kind);
}

onThemeChange(() => latest && draw(latest));
follow(() => `/api/compare/${first}/${second}`, show);
