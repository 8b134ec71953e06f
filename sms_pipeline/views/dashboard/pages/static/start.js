// Start a run: the configuration is checked as it is written, and forecast when it is right.

import { ask, byId, say, sentence } from "./page.js";

const PAUSE_MS = 400;

let timer = null;
/** Stops what was asked about an older text. */
let asking = new AbortController();

function changed() {
  clearTimeout(timer);
  asking.abort();
  asking = new AbortController();
  byId("start").disabled = true;
  say("looking", "");
  byId("outlook").replaceChildren();
  timer = setTimeout(() => check(byId("text").value, asking.signal).catch(told(asking.signal)), PAUSE_MS);
}

async function check(text, signal) {
  const { problem, means } = await ask("/api/check", { text }, signal);
  say("problem", problem ?? "");
  byId("text").setAttribute("aria-invalid", Boolean(problem));
  byId("means").textContent = means ?? "";
  byId("start").disabled = Boolean(problem);
  if (problem) return;
  say("looking", "Simulating …");
  const { lines } = await ask("/api/forecast", { text }, signal);
  say("looking", lines[0]);
  byId("outlook").replaceChildren(
    ...lines.slice(1).map((line) => Object.assign(document.createElement("li"), { textContent: line.trim() })),
  );
}

/** What went wrong is said, unless nobody wants to know any more. */
const told = (signal) => (error) => signal.aborted || say("looking", sentence(`no forecast: ${error.message}`));

async function pick() {
  try {
    byId("text").value = (await ask(byId("pick").value)).text;
    changed();
  } catch (error) {
    say("problem", error.message);
  }
}

async function start(event) {
  event.preventDefault();
  asking.abort();
  byId("start").disabled = true;
  byId("said").hidden = true;
  say("looking", "Starting …");
  try {
    const { run } = await ask("/api/start", { text: byId("text").value });
    location.assign(`/runs/${run}`);
  } catch (error) {
    say("looking", "");
    say("said", sentence(error.message));
    byId("said").hidden = false;
    byId("start").disabled = false;
  }
}

byId("text").addEventListener("input", changed);
byId("pick").addEventListener("change", pick);
byId("file").addEventListener("change", async () => {
  const [file] = byId("file").files;
  if (!file) return;
  byId("text").value = await file.text();
  changed();
});
byId("form").addEventListener("submit", start);
pick();
