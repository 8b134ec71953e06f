// What both pages need: reading again and again, telling when that fails, and moments. All other
// figures come from the server as texts.

const PERIOD_MS = 1000;
const PATIENCE_MS = 15000;

export const byId = (id) => document.getElementById(id);

const two = (number) => String(number).padStart(2, "0");

/** As `moment` of views/format.py writes it, in the browser's time zone: 2023-11-14 23:13:20 +0100. */
export function moment(epoch) {
  if (epoch === null) return "not yet";
  const at = new Date(epoch * 1000);
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  const ahead = -at.getTimezoneOffset();
  const zone = `${ahead < 0 ? "-" : "+"}${two(Math.floor(Math.abs(ahead) / 60))}${two(Math.abs(ahead) % 60)}`;
  return `${day} ${time} ${zone}`;
}

/** The same, to be broken between day and time only. */
export function momentCell(epoch) {
  const cell = document.createElement("span");
  const [day, ...time] = moment(epoch).split(" ");
  cell.append(whole(day), " ", whole(time.join(" ")));
  return cell;
}

const whole = (text) => Object.assign(document.createElement("span"), { textContent: text, className: "whole" });

/** Of that day. */
export const clock = (epoch) => moment(epoch).split(" ")[1];

export function stateOf(run) {
  if (!run.done) return run.state;
  return run.control === "cancelled" ? "cancelled" : "done";
}

export function showState(element, run) {
  element.textContent = stateOf(run);
  element.className = `state ${stateOf(run)} ${run.tone}`;
}

export function setBar(bar, run) {
  const parts = { delivered: run.delivered, failed: run.failed, other: run.expired + run.cancelled };
  for (const [name, messages] of Object.entries(parts)) {
    bar.querySelector(`.${name}`).style.width = `${(100 * messages) / run.total}%`;
  }
}

export function newBar(run) {
  const bar = document.createElement("div");
  bar.className = "bar";
  for (const name of ["delivered", "failed", "other"]) {
    bar.append(Object.assign(document.createElement("i"), { className: name }));
  }
  setBar(bar, run);
  return bar;
}

/**
 * Fill a table; `rows` are lists of cells: texts or elements. What is cut has a title. Cells that
 * stay the same are left alone, so that the keyboard's focus stays where it is.
 */
export function fill(table, rows) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  rows.forEach((cells, number) => {
    const row = body.rows[number] ?? body.insertRow();
    cells.forEach((content, index) => {
      const cell = newCell(heads[index], index, content);
      const before = row.cells[index];
      if (!before) row.append(cell);
      else if (!before.isEqualNode(cell)) before.replaceWith(cell);
    });
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
}

function newCell(head, index, content) {
  const cell = document.createElement("td");
  cell.dataset.name = head.textContent;
  cell.className = index ? head.className : `${head.className} name cut`.trim();
  cell.append(typeof content === "object" ? content : inside(cell, content));
  return cell;
}

function inside(cell, text) {
  const words = Object.assign(document.createElement("span"), { textContent: text });
  if (cell.classList.contains("cut")) Object.assign(words, { title: text, className: "cut" });
  return words;
}

async function read(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (response.status === 401) logIn();
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status });
  return answer;
}

function logIn() {
  location.assign(`/login?${new URLSearchParams({ next: location.pathname + location.search })}`);
}

/** Read `url()` once a second for as long as the page is looked at; returns what reads it now. */
export function follow(url, show) {
  let shownAt = null;
  let timer = null;
  async function step() {
    clearTimeout(timer);
    let again = true;
    try {
      show(await read(url()));
      shownAt = Date.now() / 1000;
      byId("trouble").hidden = true;
      byId("read").textContent = `live · ${clock(shownAt)}`;
    } catch (error) {
      again = error.status !== 404;
      trouble(error, shownAt, again);
    }
    clearTimeout(timer);
    if (again && !document.hidden) timer = setTimeout(step, PERIOD_MS);
  }
  document.addEventListener("visibilitychange", () => document.hidden || step());
  step();
  return step;
}

function trouble(error, shownAt, again) {
  const what = error.status ? error.message : "The dashboard does not answer";
  const old = shownAt ? ` The figures are those of ${clock(shownAt)}.` : "";
  say("trouble", sentence(what) + old + (again ? " Trying again…" : ""));
  byId("trouble").hidden = false;
  byId("read").textContent = "";
}

/** Set a text that is read out aloud: only when it changes. */
export function say(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

export function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

const PATIENCE_TO_ASK_MS = 90000;

/** GET without values, POST with; the answer, or an error that says what is wrong. */
export async function ask(url, values, signal) {
  const patience = AbortSignal.timeout(PATIENCE_TO_ASK_MS);
  const sent = values === undefined ? {} : { method: "POST", body: JSON.stringify(values), headers: token() };
  let response;
  try {
    response = await fetch(url, { ...sent, signal: signal ? AbortSignal.any([signal, patience]) : patience });
  } catch {
    throw new Error("the dashboard does not answer");
  }
  if (response.status === 401) logIn();
  const answer = await response.json();
  if (!response.ok || answer.error) throw new Error(answer.error);
  return answer;
}

const token = () => ({ "X-Xsrftoken": document.body.dataset.xsrf });

export async function post(url) {
  const response = await fetch(url, {
    method: "POST",
    headers: token(),
    signal: AbortSignal.timeout(4 * PATIENCE_MS),
  });
  const answer = await response.json();
  return answer.said ?? answer.error;
}
