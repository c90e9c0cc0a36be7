// Guidance at the camera: small pictures go to the server, instructions come back.

import { call, multipart } from "./api.js";

const INTERVAL = 500;
const GUIDE_PIXELS = 480;
const ENOUGH = 2;

const hints = JSON.parse(document.getElementById("hints").textContent);

export function hintWord(code) {
  return hints[code] ?? hints.offline;
}

// Calls `seen` with every answer until `signal` aborts; resolves when the face was ready twice in a row, if `untilReady`.
export async function guide(camera, { seen, signal, anonymous = false, token = false, untilReady = true }) {
  let ready = 0;
  while (!signal.aborted) {
    const begun = performance.now();
    try {
      const picture = await camera.picture(GUIDE_PIXELS, undefined, 0.85);
      const answer = await call("/v1/guidance", { method: "POST", form: multipart("look", { token }, { image: picture }), anonymous });
      if (signal.aborted) return false;
      ready = answer.hint === "ready" ? ready + 1 : 0;
      if (seen(answer) === false) return false;
      if (untilReady && ready >= ENOUGH) return true;
    } catch (problem) {
      if (signal.aborted) return false;
      if (problem.code === "signed_out" || problem.status === 401 || problem.status === 403) throw problem;
      ready = 0;
      seen({ hint: problem.status === 503 || problem.status === 429 ? "too_many" : "offline", problem });
      await new Promise((done) => setTimeout(done, Math.max(1000, problem.retryAfter * 1000)));
    }
    await new Promise((done) => setTimeout(done, Math.max(0, INTERVAL - (performance.now() - begun))));
  }
  return false;
}
