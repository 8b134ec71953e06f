// One run, live.

import { byId, clock, count, duration, fill, follow, moment, percent, post, rate } from "./page.js";
import { seconds, sentence, setBar, showState } from "./page.js";
import { drawDeliveryTimes, drawReach, drawThroughput, onThemeChange } from "./charts.js";

const number = document.body.dataset.run;
const url = `/api/runs/${number}`;
const SHOWN_WORKERS = 20;
const SIGNS = { holding: "✓", missed: "✗", "not yet known": "…" };

let latest = null;

const set = (id, text) => {
  byId(id).textContent = text;
};

function show(run) {
  latest = run;
  showHeading(run);
  showTiles(run);
  showTimes(run);
  showProfiles(run);
  showWorkers(run);
  showThresholds(run);
  draw(run);
}

function draw(run) {
  drawThroughput(byId("throughput"), run);
  drawReach(byId("reach"), run);
  drawDeliveryTimes(byId("delivery-times"), run);
}

function showHeading(run) {
  showState(byId("state"), run);
  set("about", `${count(run.total)} messages · started ${moment(run.started_at ?? run.created_at)} · seed ${run.seed}`);
  byId("warnings").hidden = run.warnings.length === 0;
  byId("warnings").replaceChildren(
    ...run.warnings.map((text) => Object.assign(document.createElement("li"), { textContent: sentence(text) })),
  );
  const ended = run.delivered + run.failed + run.expired + run.cancelled;
  setBar(byId("bar"), run);
  byId("bar").setAttribute("aria-valuenow", Math.floor((100 * ended) / run.total));
  set("share", percent(ended / run.total));
  showButtons(run);
}

function showButtons(run) {
  if (!byId("pause")) return;
  byId("pause").hidden = run.done || run.control !== "running";
  byId("continue").hidden = run.done || run.control !== "paused";
  byId("cancel").hidden = run.done || run.control === "cancelled";
}

function showTiles(run) {
  set("delivered", count(run.delivered));
  set("delivered-more", `${percent(run.reached)} of ${count(run.total)}`);
  set("failed", count(run.failed));
  byId("failed").className = run.failed ? "bad" : "";
  set("failed-more", others(run) || `${count(run.failed_attempts)} failed attempts`);
  set("in-flight", count(run.in_flight));
  set("in-flight-more", `${count(run.retrying)} of them retrying`);
  set("rate", `${rate(run.done ? run.average_rate : run.rate)}/s`);
  set("rate-more", run.done ? "on average" : `${rate(run.average_rate)}/s on average`);
  set("eta-name", run.done ? "Took" : "Time left");
  set("eta", run.done ? duration(run.seconds) : left(run));
  set("eta-more", run.done ? `ended ${clock(run.started_at + run.seconds)}` : `${duration(run.seconds)} so far`);
}

function left(run) {
  return run.control === "paused" ? "paused" : duration(run.eta_seconds);
}

function others(run) {
  const parts = [];
  if (run.expired) parts.push(`${count(run.expired)} expired`);
  if (run.cancelled) parts.push(`${count(run.cancelled)} cancelled`);
  return parts.length ? `besides: ${parts.join(", ")}` : "";
}

function showTimes(run) {
  const facts = {
    "Average per message": seconds(run.mean_delivery_seconds),
    "Average at the sender": seconds(run.mean_send_seconds),
    "Failed attempts": run.failure_rate_seen === null ? "–" : percent(run.failure_rate_seen),
    "50 % within": seconds(run.p50_delivery_seconds),
    "95 % within": seconds(run.p95_delivery_seconds),
    "99 % within": seconds(run.p99_delivery_seconds),
  };
  for (const { share, seconds: after } of run.timeline?.marks ?? []) {
    facts[`${Math.round(share * 100)} % reached after`] = duration(after);
  }
  byId("times").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: name }));
      pair.append(Object.assign(document.createElement("dd"), { textContent: value }));
      return pair;
    }),
  );
}

function showProfiles(run) {
  const share = (value) => (value === null ? "–" : percent(value));
  fill(
    byId("profiles"),
    run.profiles.map((profile) => [
      profile.name,
      count(profile.online_senders),
      count(profile.in_flight),
      count(profile.delivered),
      count(profile.failed),
      `${share(profile.failure_rate_seen)} (set ${share(profile.failure_rate)})`,
      seconds(profile.mean_delivery_seconds),
      seconds(profile.p95_delivery_seconds),
      profile.efficiency === null ? "–" : percent(Math.min(profile.efficiency, 1), 0),
    ]),
  );
}

function showWorkers(run) {
  const shown = run.workers.slice(0, SHOWN_WORKERS);
  set("worker-count", run.workers.length);
  fill(
    byId("workers"),
    shown.map((worker) => [
      worker.id,
      worker.profile,
      count(worker.senders),
      `${worker.mean_time} s`,
      percent(worker.failure_rate, 0),
      moment(worker.joined_at),
    ]),
  );
  byId("workers").hidden = shown.length === 0;
  const hidden = run.workers.length - shown.length;
  byId("more-workers").hidden = shown.length > 0 && hidden === 0;
  set("more-workers", hidden ? `and ${count(hidden)} more` : "No worker is online.");
}

function showThresholds(run) {
  const thresholds = run.thresholds ?? [];
  byId("thresholds-card").hidden = thresholds.length === 0;
  byId("thresholds").replaceChildren(
    ...thresholds.map(({ check, state, seen }) =>
      Object.assign(document.createElement("li"), {
        textContent: `${SIGNS[state]} ${check} · ${seen} · ${state}`,
        className: state.replaceAll(" ", "-"),
      }),
    ),
  );
}

async function steer(action) {
  const buttons = ["pause", "continue", "cancel"].map(byId);
  for (const button of buttons) button.disabled = true;
  try {
    set("said", sentence(await post(`${url}/${action}`)));
  } catch {
    set("said", "The dashboard does not answer: nothing is known of what was asked.");
  }
  byId("said").hidden = false;
  for (const button of buttons) button.disabled = false;
  readNow();
}

function confirmCancel() {
  const open = latest.total - latest.delivered - latest.failed - latest.expired - latest.cancelled;
  set(
    "confirm-text",
    `${count(open)} messages have not ended yet. Those that are not being sent are counted as cancelled. This is final.`,
  );
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
