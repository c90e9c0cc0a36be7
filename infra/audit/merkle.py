"""The Merkle tree of RFC 6962 as pure functions.

Only complete subtrees are ever stored: node (level, index) covers the leaves from `index * 2**level` up to
`(index + 1) * 2**level`. Such a node never changes once it exists, so that appending writes two nodes on
average and every proof reads a number of nodes that grows with the logarithm of the tree's size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

NodeReader = Callable[[int, int], bytes]
"""Returns the 32-byte hash of the complete subtree (level, index)."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962, 2.1)."""


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the given leaf contents; memory grows with the logarithm of their number."""
    pending: list[bytes] = []  # one hash for each set bit of the size, the largest subtree first
    for size, leaf in enumerate(leaves):
        node = leaf_hash(leaf)
        for _ in range(_trailing_ones(size)):
            node = node_hash(pending.pop(), node)
        pending.append(node)
    if not pending:
        return EMPTY_ROOT
    node = pending.pop()
    while pending:
        node = node_hash(pending.pop(), node)
    return node


def new_nodes(size: int, leaf: bytes, read: NodeReader) -> list[tuple[int, int, bytes]]:
    """Return the complete subtrees (level, index, hash) that one more leaf adds to `size` leaves."""
    level, index, node = 0, size, leaf_hash(leaf)
    nodes = [(level, index, node)]
    while index % 2:
        node = node_hash(read(level, index - 1), node)
        level, index = level + 1, index // 2
        nodes.append((level, index, node))
    return nodes


def nodes_of_many(size: int, leaves: Sequence[bytes], read: NodeReader) -> dict[tuple[int, int], bytes]:
    """Return the complete subtrees, (level, index) to hash, that more leaves add to `size` leaves.

    `read` is asked only for subtrees of the first `size` leaves.
    """
    made: dict[tuple[int, int], bytes] = {}

    def known(level: int, index: int) -> bytes:
        node = made.get((level, index))
        return read(level, index) if node is None else node

    for place, leaf in enumerate(leaves, start=size):
        made |= {(level, index): node for level, index, node in new_nodes(place, leaf, known)}
    return made


def root(size: int, read: NodeReader) -> bytes:
    """Return the root of the tree's first `size` leaves."""
    return _subtree(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, read))
            end = middle
        else:
            path.append(_subtree(start, middle, read))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, read: NodeReader) -> list[bytes]:
    """Return the proof that the tree of `new` leaves extends that of `old` leaves (RFC 6962, 2.1.2).

    The proof is empty for equal sizes, and for an empty old tree, which every tree extends.
    """
    if not 0 <= old <= new:
        raise ValueError("a tree extends only a smaller one")
    if old == 0:
        return []
    start, end, path = 0, new, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(middle, end, read))
            end = middle
        else:
            path.append(_subtree(start, middle, read))
            start = middle
    if start:  # a subtree that starts at 0 is the old tree itself: the verifier has its root
        path.append(_subtree(start, end, read))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """Say whether the leaf hash stands at `index` under the root of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if first % 2 or first == last:
            node = node_hash(step, node)
            first, last = _skip_to_right_child(first, last)
        else:
            node = node_hash(node, step)
        first, last = first // 2, last // 2
    return last == 0 and node == root_hash


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Say whether the tree of `new` leaves extends that of `old` leaves (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path or (old & (old - 1) == 0 and not proof):
        return False
    shift = _trailing_ones(old - 1)
    first, last = (old - 1) >> shift, (new - 1) >> shift
    old_node = new_node = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if first % 2 or first == last:
            old_node, new_node = node_hash(step, old_node), node_hash(step, new_node)
            first, last = _skip_to_right_child(first, last)
        else:
            new_node = node_hash(new_node, step)
        first, last = first // 2, last // 2
    return last == 0 and old_node == old_root and new_node == new_root


def _skip_to_right_child(first: int, last: int) -> tuple[int, int]:
    """Climb over the levels at which an incomplete right border has no sibling."""
    while first and not first % 2:
        first, last = first // 2, last // 2
    return first, last


def _subtree(start: int, end: int, read: NodeReader) -> bytes:
    """Return MTH(D[start:end]); every split leaves `start` aligned, so complete ones are stored."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(size)
    return node_hash(_subtree(start, middle, read), _subtree(middle, end, read))


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1
