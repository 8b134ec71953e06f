// One run, live.

import { byId, clock, fill, follow, moment, post, sentence, setBar, showState } from "./page.js";
import { drawDeliveryTimes, drawReach, drawThroughput, onThemeChange } from "./charts.js";

const number = document.body.dataset.run;
const url = `/api/runs/${number}`;

let latest = null;

const set = (id, text) => {
  byId(id).textContent = text;
};

const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });

function show(run) {
  latest = run;
  showHeading(run);
  showTiles(run);
  showTimes(run);
  fill(byId("profiles"), run.shown.profiles);
  showWorkers(run);
  showThresholds(run);
  draw(run);
}

function draw({ charts }) {
  drawThroughput(byId("throughput"), charts);
  drawReach(byId("reach"), charts);
  drawDeliveryTimes(byId("delivery-times"), charts);
}

function showHeading(run) {
  showState(byId("state"), run);
  set("started", moment(run.started_at));
  set("seed", run.seed);
  byId("about").hidden = false;
  set("verdict", run.verdict);
  set("name", run.shown.name);
  byId("name").hidden = !run.shown.name;
  byId("verdict").className = run.tone;
  byId("downloads").hidden = false;
  const { notices } = run.shown;
  byId("warnings").hidden = notices.length === 0;
  byId("warnings").replaceChildren(...notices.map((text) => make("li", sentence(text))));
  const ended = run.delivered + run.failed + run.expired + run.cancelled;
  setBar(byId("bar"), run);
  byId("bar").setAttribute("aria-valuenow", Math.floor((100 * ended) / run.total));
  showButtons(run);
}

function showButtons(run) {
  if (!byId("pause")) return;
  byId("pause").hidden = run.done || run.control !== "running";
  byId("continue").hidden = run.done || run.control !== "paused";
  byId("cancel").hidden = run.done || run.control === "cancelled";
}

function showTiles(run) {
  for (const [id, text] of Object.entries(run.shown.texts)) set(id, text);
  byId("failed").className = run.failed ? "bad" : "";
  if (run.ended_at !== null) set("eta-more", `ended ${clock(run.ended_at)}`);
}

function showTimes(run) {
  byId("times").replaceChildren(
    ...run.shown.times.map(([name, text]) => {
      const pair = document.createElement("div");
      pair.append(make("dt", name), make("dd", text));
      return pair;
    }),
  );
}

function showWorkers(run) {
  const { title, count, cells, joined_at: joined, more } = run.shown.workers;
  set("workers-title", title);
  set("worker-count", count);
  fill(
    byId("workers"),
    cells.map((texts, index) => [...texts, moment(joined[index])]),
  );
  byId("workers").hidden = cells.length === 0;
  byId("more-workers").hidden = !more;
  set("more-workers", more);
}

function showThresholds({ shown: { thresholds } }) {
  byId("thresholds-card").hidden = thresholds.length === 0;
  byId("thresholds").replaceChildren(
    ...thresholds.map(({ state, text }) => make("li", text, { className: state.replaceAll(" ", "-") })),
  );
}

async function steer(action) {
  const buttons = ["pause", "continue", "cancel"].map(byId);
  for (const button of buttons) button.disabled = true;
  try {
    set("said", sentence(await post(`${url}/${action}`)));
  } catch {
    set("said", "The dashboard does not answer, so it is not known whether this was done.");
  }
  byId("said").hidden = false;
  for (const button of buttons) button.disabled = false;
  readNow();
}

function confirmCancel() {
  byId("confirm").returnValue = "";
  byId("confirm").showModal();
}

if (byId("pause")) {
  byId("pause").addEventListener("click", () => steer("pause"));
  byId("continue").addEventListener("click", () => steer("continue"));
  byId("cancel").addEventListener("click", confirmCancel);
  byId("confirm").addEventListener("close", () => byId("confirm").returnValue === "cancel" && steer("cancel"));
}
onThemeChange(() => latest && draw(latest));
const readNow = follow(() => url, show);
