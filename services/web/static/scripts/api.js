// Calls of the public interface under /v1, as a page makes them.

export class Problem extends Error {
  // `status` 0 and `code` "offline": the service cannot be reached.
  constructor(status, body) {
    super(body.code);
    this.status = status;
    this.code = body.code;
    this.rejected = body.rejected ?? [];
    this.retryAfter = body.retryAfter ?? 0;
  }
}

// A gate's screen may have a wrong clock; captures are timed in the server's.
let offset = 0;

export function serverNow() {
  return Date.now() + offset;
}

const csrf = document.querySelector('meta[name="csrf"]')?.content;

// `anonymous` sends no cookie: a visitor's call is nobody's, whoever is signed in beside.
export async function call(path, { method = "GET", json, form, anonymous = false, signal, headers = {} } = {}) {
  const sent = { ...headers };
  if (csrf && !anonymous) sent["x-csrf-token"] = csrf;
  if (json !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: sent,
      body: json === undefined ? form : JSON.stringify(json),
      credentials: anonymous ? "omit" : "same-origin",
      cache: "no-store",
      signal: signal ?? AbortSignal.timeout(20_000),
    });
  } catch {
    throw new Problem(0, { code: "offline" });
  }
  const date = Date.parse(response.headers.get("date"));
  // The header has whole seconds: only a difference that matters is believed.
  if (Number.isFinite(date)) offset = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  const body = response.status === 204 ? {} : await response.json().catch(() => ({ code: "offline" }));
  if (!response.ok) throw new Problem(response.status, { ...body, retryAfter: Number(response.headers.get("retry-after") ?? 0) });
  return body;
}

// A multipart request: a JSON part beside image files.
export function multipart(part, body, files) {
  const form = new FormData();
  form.append(part, new Blob([JSON.stringify(body)], { type: "application/json" }));
  for (const [name, blobs] of Object.entries(files)) for (const blob of [blobs].flat()) form.append(name, blob, "capture.jpg");
  return form;
}

export function nonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}
