// One run, live.

import { ask, byId, clock, fill, follow, moment, momentCell, post, say, sentence, setBar, showState, stateOf } from "./page.js";
import { drawDeliveryTimes, drawReach, drawThroughput, onThemeChange } from "./charts.js";

const number = document.body.dataset.run;
const url = `/api/runs/${number}`;

let latest = null;
let spoken = null;

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

function draw({ charts, shown }) {
  drawThroughput(byId("throughput"), charts);
  drawReach(byId("reach"), charts);
  drawDeliveryTimes(byId("delivery-times"), charts);
  for (const [id, text] of Object.entries(shown.charts)) byId(id).setAttribute("aria-label", text);
}

function showHeading(run) {
  showState(byId("state"), run);
  set("started", moment(run.started_at));
  set("seed", run.seed);
  byId("about").hidden = false;
  set("verdict", run.verdict);
  set("name", run.shown.name);
  byId("name").title = run.shown.name;
  byId("name").hidden = !run.shown.name;
  announce(run);
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

/** For those who hear the page: how the run stands, when that changes. */
function announce(run) {
  if (!spoken) spoken = stateOf(run);
  if (spoken === stateOf(run)) return;
  spoken = stateOf(run);
  say("spoken", `Run ${number}: ${spoken}. ${sentence(run.verdict)}`);
}

function showButtons(run) {
  if (!byId("pause")) return;
  byId("pause").hidden = run.done || run.control !== "running";
  byId("continue").hidden = run.done || run.control !== "paused";
  byId("cancel").hidden = run.done || run.control === "cancelled";
  if (byId("again")) byId("again").hidden = !run.done;
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
    cells.map((texts, index) => [...texts, momentCell(joined[index])]),
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

async function again() {
  byId("again").disabled = true;
  try {
    const { run } = await ask(`${url}/again`, {});
    location.assign(`/runs/${run}`);
  } catch (error) {
    set("said", sentence(error.message));
    byId("said").hidden = false;
    byId("again").disabled = false;
  }
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
byId("again")?.addEventListener("click", again);
onThemeChange(() => latest && draw(latest));
const readNow = follow(() => url, show);
