// Signed tree heads: C2SP signed-note, tlog-checkpoint and tlog-cosignature, Ed25519 by WebCrypto; and the chain of keys
// that rotations leave in the log. Whatever is not exactly in the format is refused.

import { leafHash, same, verifyInclusion } from "./merkle.js";

const ED25519 = 1;
const COSIGNATURE = 4;

export class Refused extends Error {
  // `code`: malformed, malformed_key, other_key, signature, rotation, unsupported.
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const utf8 = (text) => new TextEncoder().encode(text);

export function fromBase64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new Refused("malformed");
  }
  if (btoa(String.fromCharCode(...bytes)) !== text) throw new Refused("malformed");
  return bytes;
}

export function fromHex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Refused("malformed");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export const toHex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function keyId(name, kind, raw) {
  const message = Uint8Array.of(...utf8(name), 10, kind, ...raw);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", message)).slice(0, 4);
}

async function keyOf(name, kind, raw) {
  let key;
  try {
    key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    throw new Refused(error.name === "NotSupportedError" ? "unsupported" : "malformed_key");
  }
  return { name, kind, raw, id: await keyId(name, kind, raw), key };
}

// `name+hash+base64(kind || public key)`: a site's key, or that of a witness with Ed25519.
export async function parseVerifierKey(text, kinds = [ED25519]) {
  const match = /^([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  if (!match) throw new Refused("malformed_key");
  const bytes = fromBase64(match[3]);
  if (bytes.length !== 33 || !kinds.includes(bytes[0])) throw new Refused("malformed_key");
  const key = await keyOf(match[1], bytes[0], bytes.slice(1));
  if (toHex(key.id) !== match[2]) throw new Refused("malformed_key");
  return { ...key, text: text.trim() };
}

export const parseWitnessKey = (text) => parseVerifierKey(text, [COSIGNATURE]);

export function parseCheckpoint(note) {
  const split = note.lastIndexOf("\n\n");
  const body = note.slice(0, split).split("\n");
  const notes = note.slice(split + 2);
  if (split < 0 || note.length > 100_000 || body.length < 3 || body.some((line) => !line) || !notes.endsWith("\n")) throw new Refused("malformed");
  if (!/^(0|[1-9][0-9]{0,14})$/.test(body[1])) throw new Refused("malformed");
  const root = fromBase64(body[2]);
  if (root.length !== 32) throw new Refused("malformed");
  const lines = notes.slice(0, -1).split("\n").map((line) => {
    const match = /^— ([^\s+]{1,200}) ([A-Za-z0-9+/=]+)$/.exec(line);
    const blob = match && fromBase64(match[2]);
    if (!match || blob.length < 5) throw new Refused("malformed");
    return { name: match[1], id: blob.slice(0, 4), signature: blob.slice(4) };
  });
  return { note, origin: body[0], size: Number(body[1]), root, text: body.join("\n") + "\n", lines };
}

const isBy = (line, key) => line.name === key.name && same(line.id, key.id);

// Returns the checkpoint if this key signed it for its own log.
export async function verifyCheckpoint(note, key) {
  const checkpoint = parseCheckpoint(note);
  if (checkpoint.origin !== key.name) throw new Refused("other_key");
  const mine = checkpoint.lines.filter((line) => isBy(line, key));
  if (mine.length === 0) throw new Refused("other_key");
  for (const line of mine) {
    if (!(await crypto.subtle.verify("Ed25519", key.key, line.signature, utf8(checkpoint.text)))) throw new Refused("signature");
  }
  return checkpoint;
}

// Returns when a witness cosigned, in milliseconds since 1970, or undefined if it did not.
export async function witnessed(checkpoint, witness) {
  for (const line of checkpoint.lines.filter((one) => isBy(one, witness))) {
    if (line.signature.length !== 72) throw new Refused("signature");
    const time = new DataView(line.signature.buffer.slice(line.signature.byteOffset)).getBigUint64(0);
    const message = utf8(`cosignature/v1\ntime ${time}\n${checkpoint.text}`);
    if (!(await crypto.subtle.verify("Ed25519", witness.key, line.signature.slice(8), message))) throw new Refused("signature");
    return Number(time) * 1000;
  }
  return undefined;
}

// Returns the trusted key and all that follow it, each vouched for by the one before (docs/audit-log.md).
export async function followKeys(trusted, rotations) {
  const keys = [trusted];
  for (const rotation of rotations) {
    const leaf = JSON.parse(rotation.leaf);
    const old = keys.at(-1);
    if (leaf.old_key !== toHex(old.raw)) {
      if (keys.length > 1) throw new Refused("rotation");
      continue;
    }
    const next = await keyOf(old.name, ED25519, fromHex(leaf.new_key));
    const vouching = await verifyCheckpoint(rotation.checkpoint, old);
    await verifyCheckpoint(rotation.checkpoint, next);
    const hash = await leafHash(utf8(rotation.leaf));
    const proof = rotation.hashes.map(fromHex);
    const there = await verifyInclusion(hash, rotation.index, vouching.size, proof, vouching.root);
    if (leaf.event !== "signing_key_rotated" || vouching.size !== rotation.index + 1 || !there) throw new Refused("rotation");
    keys.push(next);
  }
  return keys;
}
