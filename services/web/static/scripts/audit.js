// The auditor's page: verifies the log against a pinned key, shows its figures and its entries.

import { call, Problem } from "./api.js";
import { Refused, parseWitnessKey } from "./checkpoint.js";
import { age, decisions, growth, refusals } from "./charts.js";
import { Broken, linesOf, PinnedLog } from "./pinned_log.js";
import { tell, word } from "./words.js";

const PAGE = 25;

const $ = (id) => document.getElementById(id);
const language = document.documentElement.lang + "-IN";
const clock = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const number = new Intl.NumberFormat(language);

async function ask(path, kind = "json") {
  if (kind === "json") return call(path);
  const response = await fetch(path, { cache: "no-store" }).catch(() => { throw new Problem(0, { code: "offline" }); });
  if (!response.ok) throw new Problem(response.status, { code: response.status === 401 ? "signed_out" : "unexpected" });
  return kind === "text" ? response.text() : response;
}

const log = new PinnedLog(ask);

// --- The verdict

function show(state, text = word(`${state}_text`)) {
  $("audit").dataset.state = state;
  tell($("verdict"), word(state));
  tell($("explained"), text);
  $("pinning").hidden = state !== "unpinned";
  $("pinned").hidden = state === "unpinned";
  $("evidence").hidden = true;
  $("pinned-key").textContent = log.vkey ?? "";
}

function codeOf(error) {
  if (error instanceof Broken || error instanceof Refused) return error.code;
  return error.status === 401 || error.status === 403 ? "signed_out" : error.status === 0 ? "offline" : "unexpected";
}

function failed(error) {
  const code = codeOf(error);
  const nothing = ["offline", "unexpected", "signed_out", "unsupported"].includes(code);
  show(nothing ? "wait" : "bad", word(code));
  if (nothing) tell($("verdict"), word(code));
  if (nothing) tell($("explained"), "");
  if (!(error instanceof Broken) || !error.evidence.length) return;
  $("evidence").hidden = false;
  $("evidence").replaceChildren(...error.evidence.map((note, n) => {
    const save = document.createElement("a");
    save.className = "button danger";
    save.href = URL.createObjectURL(new Blob([note], { type: "text/plain" }));
    save.download = `checkpoint-${n + 1}.txt`;
    save.textContent = word("checkpoint").replace("{n}", n + 1);
    return save;
  }));
}

async function verify() {
  if (!log.vkey) return show("unpinned");
  const first = !log.note;
  show("wait");
  try {
    const { head, rotated } = await log.verify();
    show("good", word(rotated ? "rotated_text" : first ? "first_text" : "good_text"));
    $("size").textContent = number.format(head.size);
    $("root").textContent = head.lines.length ? btoa(String.fromCharCode(...head.root)) : "";
    $("signers").textContent = [...new Set(head.lines.map((line) => line.name))].join(", ");
    $("verified-at").textContent = clock.format(new Date(log.at));
    $("note").textContent = head.note;
  } catch (error) {
    failed(error);
  }
}

async function pin(vkey) {
  try {
    await log.pin(vkey);
  } catch (error) {
    return tell($("explained"), word(codeOf(error)));
  }
  await verify();
  $("verify").focus();
}

let reading;

async function verifyAll() {
  await verify();
  if ($("audit").dataset.state !== "good") return;
  tell($("all-done"), "");
  reading = new AbortController();
  $("reading").hidden = false;
  const progress = (done, all) => {
    $("progress").value = all ? done / all : 1;
    $("reading-text").textContent = word("reading").replace("{done}", number.format(done)).replace("{all}", number.format(all));
  };
  try {
    const response = await fetch("/v1/audit/export", { signal: reading.signal, cache: "no-store" });
    if (!response.ok) throw new Problem(response.status, { code: "unexpected" });
    const size = await log.verifyAll(linesOf(response), progress);
    tell($("all-done"), word("all_good").replace("{n}", number.format(size)));
  } catch (error) {
    if (error.name === "AbortError") tell($("all-done"), word("stopped"));
    else failed(error instanceof TypeError ? new Problem(0, { code: "offline" }) : error);
  } finally {
    reading.abort();
    $("reading").hidden = true;
  }
}

$("pinning").addEventListener("submit", (event) => {
  event.preventDefault();
  pin($("vkey").value);
});
$("trust").addEventListener("click", () => pin($("claimed").textContent));
$("unpin").addEventListener("click", () => {
  log.forget();
  show("unpinned");
  $("vkey").focus();
});
$("verify").addEventListener("click", verify);
$("all").addEventListener("click", verifyAll);
$("stop").addEventListener("click", () => reading.abort());
$("ask-witness").addEventListener("click", async () => {
  try {
    if (!log.head) await verify();
    const time = await log.witnessed(await parseWitnessKey($("witness").value));
    tell($("witness-said"), time === undefined ? word("witness_no") : word("witness_yes").replace("{time}", clock.format(new Date(time))));
  } catch (error) {
    tell($("witness-said"), word(codeOf(error)));
  }
});

// --- Figures and entries

async function figures() {
  const found = await call(`/v1/audit/figures?hours=${$("span").value}`);
  decisions($("decisions"), found);
  refusals($("refusals"), found);
  growth($("growth"), found);
  age($("age"), found);
}

let cursor;

function line({ index, leaf, entry }) {
  const item = $("entry").content.cloneNode(true).firstElementChild;
  item.querySelector(".number").textContent = `#${index}`;
  const time = item.querySelector("time");
  time.dateTime = entry.time;
  time.textContent = clock.format(new Date(entry.time));
  item.querySelector(".what").textContent = entry.event;
  for (const name of ["gate", "decision"]) {
    const chip = item.querySelector(`.${name}`);
    chip.hidden = entry[name] === undefined;
    chip.textContent = [entry[name], name === "decision" && entry.reason].filter(Boolean).join(": ");
    if (name === "decision") chip.classList.add(entry.decision ?? "none");
  }
  item.querySelector("pre").textContent = leaf;
  const said = item.querySelector(".said");
  item.querySelector(".check").addEventListener("click", async () => {
    try {
      if (!log.vkey) return tell(said, word("unpinned_text"));
      await log.verifyEntry(index, leaf);
      said.dataset.state = "good";
      tell(said, `✓ ${word("entry_good")}`);
    } catch (error) {
      said.dataset.state = "bad";
      tell(said, `✕ ${word(codeOf(error))}`);
      failed(error);
    }
  });
  return item;
}

async function entries(more = false) {
  const query = new URLSearchParams({ newest: "true", limit: PAGE });
  for (const name of ["event", "gate", "decision"]) if ($(name).value) query.set(name, $(name).value);
  if (more) query.set("cursor", cursor);
  const page = await call(`/v1/audit/entries?${query}`);
  if (!more) $("entries").replaceChildren();
  $("entries").append(...page.items.map(line));
  cursor = page.next_cursor;
  $("more").hidden = !cursor;
  $("empty").hidden = $("entries").children.length > 0;
}

async function guarded(work) {
  try {
    await work();
    $("problem").hidden = true;
  } catch (error) {
    $("problem").hidden = false;
    tell($("problem"), word(codeOf(error)));
  }
}

$("filters").addEventListener("change", () => guarded(entries));
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => guarded(() => entries(true)));
$("span").addEventListener("change", () => guarded(figures));
// Shown once everything is there, so that nothing jumps.
await Promise.all([guarded(figures), guarded(entries), verify()]);
$("rest").hidden = false;
