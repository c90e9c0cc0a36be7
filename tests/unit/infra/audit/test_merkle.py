import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.audit import merkle

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/merkle/rfc6962.json").read_text())
VECTOR_LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]


class Tree:
    """Complete subtrees in a dictionary, filled by `new_nodes` as the database's table is."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.reads = 0
        for size, leaf in enumerate(leaves):
            for level, index, node in merkle.new_nodes(size, leaf, self.read):
                assert (level, index) not in self.nodes
                self.nodes[level, index] = node

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.nodes[level, index]


def naive_split(size: int) -> int:
    split = 1
    while split * 2 < size:
        split *= 2
    return split


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = naive_split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2, word for word."""
    if m == len(leaves):
        return [] if known else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], known), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


leaf_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


@pytest.mark.parametrize("size", range(9))
@pytest.mark.privacy_row("log_golden_vectors")
def test_roots_of_the_reference_tree(size: int) -> None:
    expected = VECTORS["roots"][size]
    assert merkle.root_of(VECTOR_LEAVES[:size]).hex() == expected
    assert merkle.root(size, Tree(VECTOR_LEAVES).read).hex() == expected


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda v: f"{v['index']}-{v['size']}")
@pytest.mark.privacy_row("log_golden_vectors")
def test_inclusion_proofs_of_the_reference_tree(vector: dict) -> None:
    proof = merkle.inclusion_proof(vector["index"], vector["size"], Tree(VECTOR_LEAVES).read)
    assert [step.hex() for step in proof] == vector["proof"]
    leaf = merkle.leaf_hash(VECTOR_LEAVES[vector["index"]])
    root = bytes.fromhex(VECTORS["roots"][vector["size"]])
    assert merkle.verify_inclusion(leaf, vector["index"], vector["size"], proof, root)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda v: f"{v['old']}-{v['new']}")
@pytest.mark.privacy_row("log_golden_vectors")
def test_consistency_proofs_of_the_reference_tree(vector: dict) -> None:
    proof = merkle.consistency_proof(vector["old"], vector["new"], Tree(VECTOR_LEAVES).read)
    assert [step.hex() for step in proof] == vector["proof"]
    old, new = (bytes.fromhex(VECTORS["roots"][vector[side]]) for side in ("old", "new"))
    assert merkle.verify_consistency(vector["old"], vector["new"], proof, old, new)


@given(leaf_lists, st.data())
def test_agrees_with_the_definitions_and_verifies(leaves: list[bytes], data: st.DataObject) -> None:
    tree, size = Tree(leaves), len(leaves)
    root = merkle.root(size, tree.read)
    assert root == merkle.root_of(leaves) == naive_root(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(index, size, tree.read)
    assert path == naive_path(index, leaves)
    assert merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, size, path, root)
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, size, tree.read)
    assert proof == naive_subproof(old, leaves, True)
    assert merkle.verify_consistency(old, size, proof, merkle.root(old, tree.read), root)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70, unique=True), st.data())
def test_a_changed_proof_root_leaf_or_position_fails(leaves: list[bytes], data: st.DataObject) -> None:
    tree, size = Tree(leaves), len(leaves)
    root = merkle.root(size, tree.read)
    index = data.draw(st.integers(0, size - 1))
    leaf, path = merkle.leaf_hash(leaves[index]), merkle.inclusion_proof(index, size, tree.read)
    bit = data.draw(st.integers(0, 255))

    def flip(node: bytes) -> bytes:
        return (int.from_bytes(node) ^ (1 << bit)).to_bytes(32)

    assert not merkle.verify_inclusion(flip(leaf), index, size, path, root)
    assert not merkle.verify_inclusion(leaf, index, size, path, flip(root))
    assert not merkle.verify_inclusion(leaf, index, size, [*path, root], root)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        broken = [flip(step) if i == at else step for i, step in enumerate(path)]
        assert not merkle.verify_inclusion(leaf, index, size, broken, root)
        assert not merkle.verify_inclusion(leaf, index, size, path[:-1], root)
        assert not merkle.verify_inclusion(leaf, index ^ 1, size, path, root)
    old = data.draw(st.integers(1, size))
    proof, old_root = merkle.consistency_proof(old, size, tree.read), merkle.root(old, tree.read)
    assert not merkle.verify_consistency(old, size, proof, flip(old_root), root)
    assert not merkle.verify_consistency(old, size, proof, old_root, flip(root))
    for at in range(len(proof)):
        broken = [flip(step) if i == at else step for i, step in enumerate(proof)]
        assert not merkle.verify_consistency(old, size, broken, old_root, root)


@given(st.lists(st.binary(max_size=8), max_size=70), st.data())
def test_many_leaves_add_the_nodes_that_they_add_one_by_one(leaves: list[bytes], data: st.DataObject) -> None:
    tree = Tree(leaves[: data.draw(st.integers(0, len(leaves)))])
    size = sum(level == 0 for level, _ in tree.nodes)
    made = merkle.nodes_of_many(size, leaves[size:], tree.read)
    assert not made.keys() & tree.nodes.keys()
    assert tree.nodes | made == Tree(leaves).nodes


def test_edges() -> None:
    tree, leaf = Tree(VECTOR_LEAVES), merkle.leaf_hash(VECTOR_LEAVES[0])
    root = merkle.root(8, tree.read)
    assert merkle.consistency_proof(0, 8, tree.read) == []
    assert merkle.verify_consistency(0, 8, [], merkle.EMPTY_ROOT, root)
    assert not merkle.verify_consistency(0, 8, [], root, root)
    assert not merkle.verify_consistency(3, 8, [], root, root)
    assert not merkle.verify_consistency(9, 8, [], root, root)
    assert not merkle.verify_inclusion(leaf, 8, 8, [], root)
    assert not merkle.verify_inclusion(leaf, -1, 8, [], root)
    for index, size in ((8, 8), (-1, 8), (0, 0)):
        with pytest.raises(ValueError, match="no such leaf"):
            merkle.inclusion_proof(index, size, tree.read)
    for old, new in ((9, 8), (-1, 8)):
        with pytest.raises(ValueError, match="smaller"):
            merkle.consistency_proof(old, new, tree.read)


def test_reads_grow_with_the_logarithm() -> None:
    size = 5000
    tree = Tree([str(i).encode() for i in range(size)])
    assert len(tree.nodes) < 2 * size
    tree.reads = 0
    for index in range(0, size, 37):
        merkle.inclusion_proof(index, size, tree.read)
        merkle.consistency_proof(index, size, tree.read)
    assert tree.reads / len(range(0, size, 37)) <= 4 * size.bit_length()
