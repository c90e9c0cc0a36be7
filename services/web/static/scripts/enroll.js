// The traveller's page: consent, camera, review, token. Pictures live in this page's memory until they are sent.

import { call, multipart, nonce } from "./api.js";
import { Camera } from "./camera.js";
import { countDown } from "./countdown.js";
import { guide, hintWord } from "./guide.js";
import { localTimes, tell, word } from "./words.js";

const SHOTS = 3;
const BETWEEN_SHOTS = 400;
const SHOT_PIXELS = 1280;

const $ = (id) => document.getElementById(id);
const anonymous = !word("at_desk");
const camera = new Camera($("video"));
let guiding = new AbortController();
let pictures = [];
let addresses = [];
let ticking;
let idempotency;

function go(stage) {
  for (const section of document.querySelectorAll(".stage")) section.hidden = section.id !== stage;
  if (stage !== "capture") stopCamera();
  window.scrollTo(0, 0);
  $(stage).querySelector("h1")?.focus();
}

function problem(id, code) {
  $(id).hidden = !code;
  $(id).textContent = code ? word(code) : "";
  if (code) $(id).scrollIntoView({ block: "nearest" });
}

// 1. Consent

function consent() {
  const departs = $("departs").value;
  return {
    travel: { flight: $("flight").value.replaceAll(" ", "").toUpperCase(), departs_at: departs ? new Date(departs).toISOString() : null },
    consent: {
      purposes: [...document.querySelectorAll('input[name="purpose"]:checked')].map((box) => box.value),
      notice_version: word("notice_version"),
      notice_sha256: word("notice_sha256"),
      language: word("language"),
      adult: $("adult").checked,
    },
  };
}

$("begin").addEventListener("click", () => go("consent"));
$("decline").addEventListener("click", () => go("declined"));
document.querySelector('[data-go="welcome"]').addEventListener("click", () => go("welcome"));
$("consent").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = consent();
  const wrong = [
    [!given.consent.purposes.some((purpose) => purpose !== "walk_through"), "consent_missing", document.querySelector('input[name="purpose"]')],
    [!$("flight").value || !$("flight").checkValidity(), "flight", $("flight")],
    [given.travel.departs_at && new Date(given.travel.departs_at) < new Date(), "departs", $("departs")],
    [!given.consent.adult, "minor_to_officer", $("adult")],
  ].find(([fails]) => fails);
  for (const field of [$("flight"), $("departs")]) field.removeAttribute("aria-invalid");
  problem("consent-problem", wrong?.[1]);
  if (wrong) {
    if (wrong[2].type !== "checkbox") wrong[2].setAttribute("aria-invalid", "true");
    wrong[2].focus();
    return;
  }
  go("capture");
  startCamera();
});

// 2. Camera

async function startCamera() {
  $("no-camera").hidden = true;
  $("snap").disabled = true;
  $("camera").hidden = false;
  tell($("hint"), hintWord("starting"));
  guiding = new AbortController();
  camera.lost = () => noCamera("busy");
  try {
    await camera.open();
  } catch (error) {
    noCamera(error.code);
    return;
  }
  $("snap").disabled = false;
  try {
    const ready = await guide(camera, {
      anonymous,
      signal: guiding.signal,
      seen: ({ hint }) => {
        $("camera").dataset.ready = hint === "ready" ? "yes" : "no";
        tell($("hint"), hintWord(hint));
      },
    });
    if (ready) await shoot();
  } catch (error) {
    stopCamera();
    go("review");
    problem("review-problem", error.code);
  }
}

function stopCamera() {
  guiding.abort();
  camera.close();
  $("camera").dataset.ready = "no";
}

function noCamera(code) {
  stopCamera();
  $("camera").hidden = true;
  $("no-camera").hidden = false;
  $("no-camera-text").textContent = hintWord(code);
}

async function shoot() {
  guiding.abort();
  const taken = [];
  while (taken.length < SHOTS && camera.works) {
    taken.push(await camera.picture(SHOT_PIXELS));
    await new Promise((done) => setTimeout(done, BETWEEN_SHOTS));
  }
  if (taken.length) review(taken);
}

$("snap").addEventListener("click", shoot);
$("again").addEventListener("click", startCamera);
$("files").addEventListener("change", () => {
  const files = [...$("files").files].slice(0, Number($("files").dataset.most));
  $("files").value = "";
  if (files.length) review(files);
});

// 3. Review

function forget() {
  for (const address of addresses) URL.revokeObjectURL(address);
  addresses = [];
  pictures = [];
  $("shots").replaceChildren();
}

function review(taken) {
  forget();
  pictures = taken;
  idempotency = nonce();
  for (const [place, picture] of taken.entries()) {
    const item = document.createElement("li");
    const image = document.createElement("img");
    addresses.push((image.src = URL.createObjectURL(picture)));
    image.alt = word("picture").replace("{n}", place + 1);
    item.append(image);
    $("shots").append(item);
  }
  problem("review-problem");
  $("send").hidden = false;
  go("review");
}

$("retake").addEventListener("click", () => {
  forget();
  go("capture");
  startCamera();
});

$("send").addEventListener("click", async () => {
  const label = $("send").textContent;
  problem("review-problem");
  $("send").disabled = $("retake").disabled = true;
  $("send").textContent = word("sending");
  try {
    const form = multipart("enrollment", consent(), { images: pictures });
    // The same key again after a lost answer enrolls once and gives the same token.
    const answer = await call("/v1/enrollments", { method: "POST", form, anonymous, headers: { "idempotency-key": idempotency } });
    forget();
    done(answer);
  } catch (error) {
    problem("review-problem", error.rejected?.[0]?.reason ?? error.code);
    if (error.status && error.status !== 503) $("send").hidden = true;
  } finally {
    $("send").disabled = $("retake").disabled = false;
    $("send").textContent = label;
  }
});

// 4. The token

function done(answer) {
  const png = Uint8Array.from(atob(answer.travel_token_qr_png), (byte) => byte.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([png], { type: "image/png" }));
  const receipt = URL.createObjectURL(new Blob([JSON.stringify(answer.consent_receipt, null, 2)], { type: "application/json" }));
  addresses.push(address, receipt);
  $("qr").src = $("save").href = address;
  $("receipt").href = receipt;
  $("token").textContent = $("my-token").value = answer.travel_token;
  $("flagged").hidden = !answer.flags.length;
  $("expires").dateTime = answer.expires_at;
  localTimes($("done"));
  ticking = countDown($("countdown"), new Date(answer.expires_at));
  go("done");
}

$("print").addEventListener("click", () => window.print());
$("finish").addEventListener("click", () => {
  clearInterval(ticking);
  forget();
  location.replace("/");
});
window.addEventListener("pagehide", () => {
  stopCamera();
  forget();
});
