// The gate's screen. It runs for days: nothing is kept from one traveller to the next, and nothing grows.

import { call, multipart, nonce, serverNow } from "./api.js";
import { Camera } from "./camera.js";
import { guide, hintWord } from "./guide.js";
import { Chime } from "./chime.js";
import { tell, word } from "./words.js";

const CHECK_PIXELS = 960;
const BURST = 3;
const BETWEEN_FRAMES = 120;
const TOKEN_KEPT = 30_000;
const SHOWN = { admit: 4000, deny: 6000, refer: 8000 };
const LEFT_AFTER = 3;
const CALM_AFTER = 6;
const RETRY = 3000;
const FRONT_PATIENCE = 15_000;
const CHALLENGE_PIXELS = 640;
const CHALLENGE_FRAMES = 2;
const CHALLENGE_INTERVAL = 110;

const $ = (id) => document.getElementById(id);
const kiosk = $("kiosk");
const gate = kiosk.dataset.gate;
const walkThrough = kiosk.dataset.walkThrough === "yes";
const challenged = kiosk.dataset.liveness !== "passive";
const camera = new Camera($("video"));
const chime = new Chime($("sound"));
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

let token = "";
let tokenSeen = 0;

// What is shown: a state, a sign, two lines of words, with or without the camera's picture.
function show(state, { sign = state, title = word(state), text = word(`${state}_text`), look = false, prompt = false } = {}) {
  kiosk.dataset.state = state;
  for (const group of document.querySelectorAll("#sign > g")) group.toggleAttribute("hidden", group.id !== `sign-${sign}`);
  $("sign").toggleAttribute("hidden", look);
  $("look").hidden = !look;
  $("challenge").hidden = !prompt;
  $("staff").hidden = state !== "signed_out";
  tell($("title"), title);
  tell($("text"), text);
}

function idle() {
  show("idle", walkThrough ? { title: word("idle_walk"), text: word("idle_walk_text") } : { title: word("idle_token"), text: word("idle_token_text") });
}

function trouble(code) {
  show(code, { sign: "trouble" });
}

function take(text) {
  if (!/^DWP1\.[\w-]{22}\.[\w-]{43}$/.test(text) || text === token) return;
  token = text;
  tokenSeen = Date.now();
  chime.play("token");
}

// A hand-held scanner types the token and ends with Enter.
let typed = "";
let typedAt = 0;
document.addEventListener("keydown", (event) => {
  if (Date.now() - typedAt > 1000) typed = "";
  typedAt = Date.now();
  if (event.key === "Enter") take(typed);
  else if (event.key.length === 1) typed = (typed + event.key).slice(-100);
});

// One traveller: guided to a good picture, with a token where the gate needs one. Resolves when a check may begin.
async function welcome() {
  let nobody = CALM_AFTER;
  let ready = 0;
  idle();
  await guide(camera, {
    token: true,
    untilReady: false,
    signal: AbortSignal.timeout(600_000),
    seen: ({ hint, travel_token: read, problem }) => {
      if (problem) {
        nobody = CALM_AFTER;
        trouble(hint === "offline" ? "offline" : "busy");
        return true;
      }
      if (read) take(read);
      if (token && Date.now() - tokenSeen > TOKEN_KEPT) token = "";
      nobody = hint === "face_not_found" ? nobody + 1 : 0;
      ready = hint === "ready" ? ready + 1 : 0;
      if (nobody >= CALM_AFTER && !token) idle();
      else if (nobody < CALM_AFTER || token) {
        const asked = token ? "token_read" : walkThrough ? "idle_walk" : "token_needed";
        show("look", { title: word(asked), text: word(`${asked}_text`), look: true });
        $("camera").dataset.ready = hint === "ready" ? "yes" : "no";
        tell($("hint"), hintWord(hint));
      }
      return !(ready >= 2 && (token || walkThrough));
    },
  });
  return ready >= 2;
}

async function burst() {
  const frames = [];
  const at = new Date(serverNow()).toISOString();
  for (let n = 0; n < BURST; n++) {
    frames.push(await camera.picture(CHECK_PIXELS));
    await wait(BETWEEN_FRAMES);
  }
  return { frames, at };
}

async function check(session) {
  const { frames, at } = await burst();
  show("checking", { sign: "idle", title: word("checking"), text: "" });
  const body = { nonce: nonce(), captured_at: at, travel_token: token || null };
  if (session) body.liveness_session = session;
  return call(`/v1/gates/${gate}/checks`, { method: "POST", form: multipart("check", body, { images: frames }) });
}

// The active challenge: one movement at a time; frames belong to the step that was shown when they were taken.
async function challenge() {
  let state = await call("/v1/liveness/sessions", { method: "POST" });
  const total = state.steps_total ?? 0;
  $("dots").replaceChildren(...Array.from({ length: total }, () => document.createElement("li")));
  while (state.status === "CREATED" || state.status === "IN_PROGRESS") {
    const { step, nonce: stepNonce } = state;
    $("prompt").dataset.step = step;
    $("arrow-left").toggleAttribute("hidden", step !== "turn_left");
    $("arrow-right").toggleAttribute("hidden", step !== "turn_right");
    for (const [n, dot] of [...$("dots").children].entries()) dot.className = n < state.steps_done ? "done" : "";
    const place = word("step").replace("{n}", Math.min(state.steps_done + 1, total)).replace("{m}", total);
    show("challenge", { title: word(step), text: place, look: true, prompt: true });
    const images = [];
    const frames = [];
    for (let n = 0; n < CHALLENGE_FRAMES; n++) {
      frames.push({ nonce: stepNonce, captured_at: new Date(serverNow()).toISOString() });
      images.push(await camera.picture(CHALLENGE_PIXELS));
      await wait(CHALLENGE_INTERVAL);
    }
    try {
      const next = await call(`/v1/liveness/sessions/${state.session_id}/frames`, { method: "POST", form: multipart("frames", { frames }, { images }) });
      if (next.steps_done > state.steps_done) chime.play("step");
      state = next;
      tell($("hint"), "");
    } catch (problem) {
      if (problem.status !== 422) throw problem;
      tell($("hint"), hintWord(HINT_OF[problem.code] ?? "face_not_found"));
    }
  }
  return state;
}

// The last movement leaves the head turned or near: the check waits until the face is at the front again. A picture that
// is no good costs no second challenge, for as long as the session lives.
async function checkFromFront(session) {
  const signal = AbortSignal.timeout(FRONT_PATIENCE);
  for (;;) {
    show("look", { title: word("face_camera"), text: "", look: true });
    const ready = await guide(camera, {
      signal,
      seen: ({ hint, problem }) => {
        $("camera").dataset.ready = hint === "ready" ? "yes" : "no";
        tell($("hint"), hintWord(hint));
        if (problem) throw problem;
      },
    });
    try {
      return await check(session);
    } catch (problem) {
      if (problem.status !== 422 || !ready) throw problem;
    }
  }
}

const HINT_OF = { face_not_found: "face_not_found", multiple_faces: "multiple_faces", face_too_small: "come_closer", too_dark: "more_light", too_bright: "less_light", too_blurred: "hold_still", extreme_pose: "look_straight", occluded: "uncover" };

async function decide(answer) {
  token = "";
  chime.play(answer.decision);
  show(answer.decision, { text: answer.decision === "admit" ? "" : word(answer.reason) });
  await wait(SHOWN[answer.decision]);
}

// The one who was just served must leave the picture before the gate looks for the next.
async function untilGone() {
  let gone = 0;
  idle();
  await guide(camera, {
    token: !walkThrough,
    untilReady: false,
    signal: AbortSignal.timeout(15_000),
    seen: ({ hint, travel_token: read }) => {
      if (read) take(read);
      gone = hint === "face_not_found" ? gone + 1 : 0;
      return gone < LEFT_AFTER && !token;
    },
  });
}

async function serve() {
  if (!(await welcome())) return;
  try {
    let session;
    if (challenged) {
      const state = await challenge();
      if (state.status !== "SUCCEEDED") {
        chime.play("deny");
        show("challenge_failed", { sign: "refer" });
        await wait(SHOWN.deny);
        return;
      }
      session = state.session_id;
    }
    await decide(await (session ? checkFromFront(session) : check()));
  } catch (problem) {
    if (problem.status === 422) return; // the picture was no good after all: guide again
    throw problem;
  }
  await untilGone();
}

async function run() {
  if (kiosk.dataset.signed === "yes") return trouble("signature_needed");
  for (;;) {
    try {
      if (!camera.works) await camera.open();
      await serve();
    } catch (problem) {
      token = "";
      const code = problem.status === 401 || problem.status === 403 ? "signed_out" : problem.code;
      trouble(["offline", "denied", "missing", "insecure", "signed_out"].includes(code) ? code : problem.status === 429 || problem.status === 503 || code === "busy" ? "busy" : "unexpected");
      if (code === "signed_out") {
        camera.close();
        return;
      }
      await wait(Math.max(RETRY, (problem.retryAfter ?? 0) * 1000));
    }
  }
}

$("full").addEventListener("click", () => document.documentElement.requestFullscreen?.());
document.addEventListener("fullscreenchange", () => ($("full").hidden = Boolean(document.fullscreenElement)));
navigator.wakeLock?.request("screen").catch(() => {});
run();
