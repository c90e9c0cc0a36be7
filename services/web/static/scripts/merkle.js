// The Merkle tree of RFC 6962 and the proofs of RFC 9162, 2.1.3.2 and 2.1.4.2, with nothing but the browser's SHA-256.

export function same(a, b) {
  return a.length === b.length && a.every((byte, n) => byte === b[n]);
}

async function digest(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

export const leafHash = (leaf) => digest(Uint8Array.of(0), leaf);
export const nodeHash = (left, right) => digest(Uint8Array.of(1), left, right);

// Sizes reach 2^53 here and no further; shifts of JavaScript end at 2^32.
const half = (number) => Math.floor(number / 2);
const odd = (number) => number % 2 === 1;

export async function verifyInclusion(leaf, index, size, proof, root) {
  if (!(index >= 0 && index < size)) return false;
  let first = index, last = size - 1, node = leaf;
  for (const step of proof) {
    if (last === 0) return false;
    if (odd(first) || first === last) {
      node = await nodeHash(step, node);
      while (first && !odd(first)) [first, last] = [half(first), half(last)];
    } else {
      node = await nodeHash(node, step);
    }
    [first, last] = [half(first), half(last)];
  }
  return last === 0 && same(node, root);
}

export async function verifyConsistency(old, size, proof, oldRoot, root) {
  if (!(old >= 0 && old <= size)) return false;
  if (old === size) return proof.length === 0 && same(oldRoot, root);
  if (old === 0) return proof.length === 0 && same(oldRoot, await digest());
  const steps = [...proof];
  let first = old - 1, last = size - 1;
  while (odd(first)) [first, last] = [half(first), half(last)];
  if (first > 0 && steps.length === 0) return false;
  let before = first > 0 ? steps.shift() : oldRoot;
  let after = before;
  for (const step of steps) {
    if (last === 0) return false;
    if (odd(first) || first === last) {
      before = await nodeHash(step, before);
      after = await nodeHash(step, after);
      while (first && !odd(first)) [first, last] = [half(first), half(last)];
    } else {
      after = await nodeHash(after, step);
    }
    [first, last] = [half(first), half(last)];
  }
  return last === 0 && same(before, oldRoot) && same(after, root);
}

// The root of a growing list of leaves, in memory that grows with the logarithm of its length.
export class GrowingTree {
  constructor() {
    this.size = 0;
    this.complete = [];
  }

  async append(leaf) {
    let node = await leafHash(leaf);
    for (let rest = this.size; odd(rest); rest = half(rest)) node = await nodeHash(this.complete.pop(), node);
    this.complete.push(node);
    this.size += 1;
  }

  async root() {
    if (this.size === 0) return digest();
    let node = this.complete.at(-1);
    for (const left of this.complete.slice(0, -1).reverse()) node = await nodeHash(left, node);
    return node;
  }
}
