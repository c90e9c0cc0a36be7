// What this browser knows of a site's log: the key that somebody pinned, and the last checkpoint that held.

import { fromHex, followKeys, parseVerifierKey, Refused, verifyCheckpoint, witnessed } from "./checkpoint.js";
import { GrowingTree, leafHash, same, verifyConsistency, verifyInclusion } from "./merkle.js";

const PLACE = "dwarpal-audit-pin";

export class Broken extends Error {
  // `code`: fork, shrunk, not_included, root; `evidence`: the signed checkpoints that contradict each other.
  constructor(code, evidence = []) {
    super(code);
    this.code = code;
    this.evidence = evidence;
  }
}

export class PinnedLog {
  constructor(ask, storage = localStorage) {
    this.ask = ask; // path -> parsed answer, or text
    this.storage = storage;
    const kept = JSON.parse(storage.getItem(PLACE) ?? "null");
    this.vkey = kept?.vkey;
    this.note = kept?.note;
    this.at = kept?.at;
  }

  async pin(vkey) {
    this.vkey = (await parseVerifierKey(vkey)).text;
    this.note = this.at = undefined;
    this.#keep();
  }

  forget() {
    this.storage.removeItem(PLACE);
    this.vkey = this.note = this.at = undefined;
  }

  #keep() {
    this.storage.setItem(PLACE, JSON.stringify({ vkey: this.vkey, note: this.note, at: this.at }));
  }

  // Verifies the present checkpoint, and that the log only grew since the last one that held; pins it then.
  async verify() {
    const [note, { rotations }] = await Promise.all([this.ask("/v1/audit/checkpoint", "text"), this.ask("/v1/audit/keys")]);
    const keys = await followKeys(await parseVerifierKey(this.vkey), rotations);
    const head = await verifyCheckpoint(note, keys.at(-1));
    for (const rotation of rotations.slice(rotations.length - keys.length + 1)) {
      await this.#extends(await verifyAny(rotation.checkpoint, keys), head);
    }
    if (this.note) await this.#extends(await verifyAny(this.note, keys), head);
    this.note = note;
    this.at = Date.now();
    this.head = head;
    this.#keep();
    return { head, rotated: keys.length - 1 };
  }

  async #extends(before, head) {
    const evidence = [before.note, head.note];
    if (head.size < before.size) throw new Broken("shrunk", evidence);
    const query = `old_size=${before.size}&tree_size=${head.size}`;
    const { hashes } = before.size && before.size < head.size ? await this.ask(`/v1/audit/proofs/consistency?${query}`) : { hashes: [] };
    if (!(await verifyConsistency(before.size, head.size, hashes.map(fromHex), before.root, head.root))) throw new Broken("fork", evidence);
  }

  // Verifies that an entry, as it is shown, stands in the log that was verified.
  async verifyEntry(index, leaf) {
    if (!this.head || index >= this.head.size) await this.verify();
    const { size, root, note } = this.head;
    const { hashes } = await this.ask(`/v1/audit/proofs/inclusion?index=${index}&tree_size=${size}`);
    const hash = await leafHash(new TextEncoder().encode(leaf));
    if (!(await verifyInclusion(hash, index, size, hashes.map(fromHex), root))) throw new Broken("not_included", [note]);
  }

  // Reads every entry from a stream of the bundle's lines and compares the root of all with the verified one.
  async verifyAll(lines, progress) {
    const tree = new GrowingTree();
    const encoder = new TextEncoder();
    let first = true;
    for await (const line of lines) {
      if (!first && line.startsWith('{"checkpoint":')) break;
      if (!first && tree.size < this.head.size) await tree.append(encoder.encode(line));
      first = false;
      if (tree.size % 500 === 0) progress(tree.size, this.head.size);
      if (tree.size === this.head.size) break;
    }
    progress(tree.size, this.head.size);
    if (tree.size !== this.head.size || !same(await tree.root(), this.head.root)) throw new Broken("root", [this.head.note]);
    return tree.size;
  }

  witnessed(witness) {
    return witnessed(this.head, witness);
  }
}

async function verifyAny(note, keys) {
  for (const key of keys.slice(0, -1)) {
    try {
      return await verifyCheckpoint(note, key);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }
  return verifyCheckpoint(note, keys.at(-1));
}

// The lines of a response, as they arrive.
export async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    yield* lines;
  }
  if (rest) yield rest;
}
