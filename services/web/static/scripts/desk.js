// The officer's desk: who waits comes as server-sent events, the state of the house is asked for now and then.

import { call, nonce, serverNow } from "./api.js";
import { Chime } from "./chime.js";
import { tell, word } from "./words.js";

const STATE_EVERY = 15_000;
const MOST_DONE = 8;
const MANY = 0.5;
const FEWEST = 4;

const $ = (id) => document.getElementById(id);
const words = JSON.parse($("words").textContent);
const chime = new Chime($("sound"));
const language = document.documentElement.lang + "-IN";
const clock = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const number = new Intl.NumberFormat(language);
const waiting = new Map();
const admin = $("desk").dataset.role === "admin";

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const at = (time) => (time ? clock.format(new Date(time)) : words.none);

function problem(text) {
  $("problem").hidden = !text;
  tell($("problem"), text ?? "");
}

function line(state, text) {
  $("line").dataset.state = state;
  tell($("line-text"), text);
}

// --- Who waits

function card(check) {
  const item = $("card").content.cloneNode(true).firstElementChild;
  item.dataset.kind = check.decision;
  item.querySelector(".why").textContent = words.reasons[check.reason] ?? check.reason;
  item.querySelector(".where").textContent = check.gate_id;
  item.querySelector(".purpose").textContent = words.purposes[check.purpose] ?? check.purpose;
  item.querySelector(".yes")?.addEventListener("click", () => decide(check, item, "admit", "papers_checked"));
  item.querySelector(".no")?.addEventListener("click", () => decide(check, item, "deny", item.querySelector(".reason").value));
  return item;
}

function add(check) {
  if (waiting.has(check.check_id)) return;
  const item = card(check);
  waiting.set(check.check_id, { check, item });
  $("queue").append(item);
}

function arrived(check) {
  add(check);
  count();
  if (waiting.get(check.check_id).item.hidden) return;
  tell($("news"), fill(words.arrived, { reason: words.reasons[check.reason] ?? check.reason, gate: check.gate_id }));
  chime.play("refer");
  refreshSoon();
}

function gone(checkId) {
  const found = waiting.get(checkId);
  if (!found) return;
  const next = found.item.contains(document.activeElement) && (found.item.nextElementSibling ?? found.item.previousElementSibling);
  found.item.remove();
  waiting.delete(checkId);
  if (next) next.querySelector(".yes")?.focus();
  count();
}

function count() {
  let shown = 0;
  for (const { check, item } of waiting.values()) {
    item.hidden = check.decision === "deny" && !$("denied").checked;
    shown += !item.hidden;
  }
  tell($("number"), number.format(shown));
  $("nobody").hidden = shown > 0;
}

function tick() {
  const now = serverNow();
  for (const { check, item } of waiting.values()) {
    const seconds = Math.max(0, Math.floor((now - Date.parse(check.time)) / 1000));
    if (seconds > 3600) gone(check.check_id);
    else tell(item.querySelector(".since"), fill(words.minutes, { m: Math.floor(seconds / 60), s: String(seconds % 60).padStart(2, "0") }));
  }
}

async function decide(check, item, decision, reason) {
  const controls = item.querySelectorAll("button, select");
  for (const control of controls) control.disabled = true;
  problem();
  try {
    const body = { audit_index: check.audit_index, check_id: check.check_id, decision, reason };
    decided(await call("/v1/desk/decisions", { method: "POST", json: body, headers: { "idempotency-key": nonce() } }));
  } catch (error) {
    if (error.status === 401) return signedOut();
    problem(error.status === 503 || error.status === 429 ? words.busy : error.status ? word(error.code) : words.away);
    if (error.status === 409 || error.status === 404) gone(check.check_id);
    for (const control of controls) control.disabled = false;
  }
}

function decided(done) {
  gone(done.check_id);
  if ([...$("done-list").children].some((item) => item.dataset.check === done.check_id)) return;
  const item = document.createElement("li");
  item.dataset.check = done.check_id;
  const chip = document.createElement("span");
  chip.className = `chip ${done.decision}`;
  chip.textContent = words[done.decision];
  item.append(chip, ` ${done.gate_id} · ${words[done.reason] ?? done.reason} · ${at(done.time)}`);
  $("done-list").prepend(item);
  while ($("done-list").children.length > MOST_DONE) $("done-list").lastElementChild.remove();
  $("done").hidden = false;
  refreshSoon();
}

// Shown once the first answers are there, so that nothing jumps.
const awaited = new Set(["queue", "house"]);

function ready(part) {
  awaited.delete(part);
  if (!awaited.size) $("body").hidden = $("callers").hidden = false;
}

let source;

function listen() {
  source = new EventSource("/v1/desk/events");
  source.addEventListener("snapshot", ({ data }) => {
    line("live", words.live);
    const there = JSON.parse(data).waiting;
    const known = new Set(there.map((check) => check.check_id));
    for (const id of [...waiting.keys()]) if (!known.has(id)) gone(id);
    there.forEach(add);
    count();
    tick();
    ready("queue");
  });
  source.addEventListener("waiting", ({ data }) => arrived(JSON.parse(data)));
  source.addEventListener("decided", ({ data }) => decided(JSON.parse(data)));
  source.addEventListener("signed_out", signedOut);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) again();
    line("away", words.away);
    ready("queue");
  });
}

// A stream that was refused does not come back by itself: ask why, then try once more.
function again() {
  setTimeout(async () => {
    if (await refresh()) listen();
  }, 3000);
}

function signedOut() {
  source.close();
  clearInterval(refreshing);
  line("away", words.signed_out);
  problem(words.signed_out);
  for (const id of [...waiting.keys()]) gone(id);
}

// --- The house

function gates(list) {
  const tiles = list.map(({ gate, last_quarter: quarter, last_hour: hour }) => {
    const tile = $("tile").content.cloneNode(true).firstElementChild;
    const all = Object.values(quarter).reduce((sum, n) => sum + n, 0);
    const away = (quarter.deny ?? 0) + (quarter.refer ?? 0);
    const state = all >= FEWEST && away / all >= MANY ? "many" : Object.keys(hour).length ? "working" : "quiet";
    tile.dataset.state = state;
    tile.querySelector(".name").textContent = gate.id;
    tile.querySelector(".state").textContent = words[state];
    for (const decision of ["admit", "deny", "refer"]) tile.querySelector(`.${decision}`).textContent = number.format(hour[decision] ?? 0);
    return tile;
  });
  $("gates").replaceChildren(...tiles);
}

function purge(state) {
  const mood = !state.alive ? "bad" : state.overdue ? "care" : "good";
  $("purge-state").className = `message ${mood}`;
  tell($("purge-state"), { bad: words.purge_dead, care: fill(words.purge_late, { n: number.format(state.overdue) }), good: words.purge_good }[mood]);
  $("swept").textContent = at(state.last_sweep_at);
  $("templates").textContent = number.format(state.held);
  $("oldest").textContent = at(state.oldest_enrolled_at);
  $("next").textContent = at(state.next_expiry_at);
}

function keys(list) {
  const rows = list.map((key) => {
    const row = document.createElement("tr");
    const cells = [key.role, key.gate_id ?? "–", at(key.created_at), key.revoked_at ? `${words.revoked}, ${at(key.revoked_at)}` : words.in_force, key.id.slice(0, 8)];
    for (const text of cells) row.insertCell().textContent = text;
    if (admin) {
      const cell = row.insertCell();
      if (!key.revoked_at) cell.append(revoking(key));
    }
    return row;
  });
  if (!$("keys").contains(document.activeElement)) $("keys").replaceChildren(...rows);
}

function revoking(key) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button danger small";
  button.textContent = words.revoke;
  button.setAttribute("aria-label", `${words.revoke}: ${key.role} ${key.gate_id ?? ""} ${key.id.slice(0, 8)}`);
  button.addEventListener("blur", () => (button.textContent = words.revoke));
  button.addEventListener("click", async () => {
    if (button.textContent !== words.sure) return (button.textContent = words.sure);
    try {
      await call(`/v1/keys/${key.id}`, { method: "DELETE" });
      button.blur();
      await refresh();
    } catch (error) {
      problem(word(error.code));
    }
  });
  return button;
}

let soon;

function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, 1000);
}

async function refresh() {
  try {
    const state = await call("/v1/desk/state");
    gates(state.gates);
    purge(state.purge);
    keys(state.keys);
    $("open").textContent = number.format(state.requests.open);
    $("overdue").textContent = number.format(state.requests.overdue);
    $("due").textContent = at(state.requests.next_due_at);
    $("duplicates").textContent = number.format(state.duplicates_suspected);
    problem();
    ready("house");
    return true;
  } catch (error) {
    if (error.status === 401 || error.status === 403) return signedOut();
    line("away", words.away);
    ready("house");
    return true;
  }
}

if (admin) {
  const showGate = () => ($("gate-field").hidden = $("role").value !== "gate");
  $("role").addEventListener("change", showGate);
  showGate();
  $("make").addEventListener("submit", async (event) => {
    event.preventDefault();
    const role = $("role").value;
    try {
      const made = await call("/v1/keys", { method: "POST", json: { role, gate_id: role === "gate" ? $("gate").value : null } });
      $("new-key").textContent = made.key;
      $("made").hidden = false;
      await refresh();
    } catch (error) {
      problem(word(error.code));
    }
  });
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("new-key").textContent);
    $("copy").textContent = words.copied;
  });
}

$("denied").addEventListener("change", count);
setInterval(tick, 1000);
const refreshing = setInterval(refresh, STATE_EVERY);
refresh();
listen();
