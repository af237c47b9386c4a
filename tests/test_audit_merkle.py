"""The Merkle tree: against the RFC's own recursive definitions, and against published vectors."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import (
    EMPTY_ROOT,
    Node,
    consistency_ranges,
    continues,
    covering_nodes,
    fold,
    grow,
    includes,
    inclusion_ranges,
    join,
    leaf_hash,
    node_hash,
    prove,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
SOME_HASH = bytes.fromhex(VECTORS["some_hash"])
UINT64 = 2**64


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def grown(leaves: list[bytes]) -> tuple[list[tuple[Node, bytes]], dict[Node, bytes]]:
    """The subtrees that cover a tree grown leaf by leaf, and every node that was completed on the way."""
    frontier: list[tuple[Node, bytes]] = []
    nodes: dict[Node, bytes] = {}
    for index, leaf in enumerate(leaves):
        hashes = grow(frontier, index, leaf_hash(leaf))
        for level in range(len(hashes) // 32):
            nodes[level, index >> level] = hashes[32 * level :][:32]
    return frontier, nodes


def root_of(frontier: list[tuple[Node, bytes]]) -> bytes:
    return fold([value for _, value in frontier]) if frontier else EMPTY_ROOT


TREES = st.lists(st.binary(max_size=4), min_size=1, max_size=70)


@given(TREES)
def test_a_tree_grown_leaf_by_leaf_has_the_root_that_the_rfc_defines(leaves: list[bytes]) -> None:
    frontier, nodes = grown(leaves)
    assert root_of(frontier) == naive_root(leaves)
    assert [node for node, _ in frontier] == covering_nodes(0, len(leaves))
    for (level, index), value in nodes.items():
        assert value == naive_root(leaves[index << level : (index + 1) << level])


@given(TREES, st.data())
def test_subtrees_joined_on_the_right_give_the_same_tree(leaves: list[bytes], data: st.DataObject) -> None:
    middle = data.draw(st.integers(0, len(leaves)))
    frontier, _ = grown(leaves[:middle])
    whole, nodes = grown(leaves)
    for node in covering_nodes(middle, len(leaves)):
        join(frontier, node, nodes[node])
    assert frontier == whole


@given(TREES, st.data())
def test_inclusion_proofs_are_the_rfcs_and_hold(leaves: list[bytes], data: st.DataObject) -> None:
    _, nodes = grown(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = prove(inclusion_ranges(index, len(leaves)), nodes.__getitem__)
    assert list(proof) == naive_path(index, leaves)
    assert included(index, len(leaves), leaf_hash(leaves[index]), proof, naive_root(leaves))


@given(TREES, st.data())
def test_consistency_proofs_are_the_rfcs_and_hold(leaves: list[bytes], data: st.DataObject) -> None:
    _, nodes = grown(leaves)
    old = data.draw(st.integers(1, len(leaves)))
    proof = prove(consistency_ranges(old, len(leaves)), nodes.__getitem__)
    assert list(proof) == naive_subproof(old, leaves)
    assert consistent(old, len(leaves), naive_root(leaves[:old]), naive_root(leaves), proof)


def test_the_rfcs_example_is_proved_as_printed() -> None:
    """RFC 9162, section 2.1.5: the tree of seven leaves d0 to d6."""
    d = [bytes([number]) for number in range(7)]
    a, b, c, d_, e, f, j = (leaf_hash(leaf) for leaf in d)
    g, h, i = node_hash(a, b), node_hash(c, d_), node_hash(e, f)
    k, l_ = node_hash(g, h), node_hash(i, j)
    _, nodes = grown(d)
    paths = {0: (b, h, l_), 3: (c, g, l_), 4: (f, j, k), 6: (i, k)}
    for index, path in paths.items():
        assert prove(inclusion_ranges(index, 7), nodes.__getitem__) == path
    proofs = {3: (c, d_, g, l_), 4: (l_,), 6: (i, j, k)}
    for size, proof in proofs.items():
        assert prove(consistency_ranges(size, 7), nodes.__getitem__) == proof
    assert naive_root(d) == node_hash(k, l_)


def test_the_published_hashes_and_roots_are_ours() -> None:
    for vector in VECTORS["hasher"]:
        sides = [bytes.fromhex(vector[name]) for name in ("leaf", "left", "right") if name in vector]
        assert (leaf_hash(*sides) if "leaf" in vector else node_hash(*sides)).hex() == vector["want"]
    assert VECTORS["empty_root"] == EMPTY_ROOT.hex()
    for size, root in enumerate(ROOTS, start=1):
        assert root_of(grown(LEAVES[:size])[0]) == root


def included(index: int, size: int, leaf: bytes, proof: Any, root: bytes) -> bool:
    return includes(index=index, size=size, leaf=leaf, proof=proof, root=root)


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Any) -> bool:
    return continues(old=old, new=new, proof=proof, old_root=old_root, new_root=new_root)


def decoded(hashes: list[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in hashes]


def flipped(proof: list[bytes], position: int, mask: int) -> list[bytes]:
    """The proof with bits of the first byte of one hash flipped."""
    damaged = bytes([proof[position][0] ^ mask]) + proof[position][1:]
    return [*proof[:position], damaged, *proof[position + 1 :]]


def damaged_inclusions(
    index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes
) -> Iterator[tuple[int, int, bytes, list[bytes], bytes]]:
    """The ways of `invalidInclusionProof` in cmd/proofgen/main.go, in its order."""
    for other in ((index - 1) % UINT64, index + 1, index ^ 2):
        yield other, size, leaf, proof, root
    for other in (size * 2, size // 2):
        yield index, other, leaf, proof, root
    yield index, size, b"WrongLeaf", proof, root
    for other_root in (EMPTY_ROOT, SOME_HASH):
        yield index, size, leaf, proof, other_root
    for other_proof in ([*proof, b""], [*proof, root], [b"", *proof], [root, *proof]):
        yield index, size, leaf, other_proof, root
    for position in range(len(proof)):
        yield index, size, leaf, flipped(proof, position, 8), root
    if proof:
        yield index, size, leaf, proof[:-1], root
    if len(proof) > 1:
        yield index, size, leaf, [proof[0], SOME_HASH, *proof[1:]], root


@pytest.mark.parametrize("vector", VECTORS["inclusion"])
def test_published_inclusion_proofs_hold_until_they_are_damaged(vector: dict[str, Any]) -> None:
    index, size, proof = vector["leaf"] - 1, vector["size"], decoded(vector["proof"])
    leaf, root = leaf_hash(LEAVES[index]), ROOTS[size - 1]
    assert included(index, size, leaf, proof, root)
    for probe in damaged_inclusions(index, size, leaf, proof, root):
        assert not included(*probe), probe


def test_published_probes_outside_a_tree_and_of_a_single_entry() -> None:
    for index, size in VECTORS["additional"]["inclusion_outside_tree"]:
        for leaf, root in ((SOME_HASH, b""), (b"", EMPTY_ROOT), (SOME_HASH, EMPTY_ROOT)):
            assert not included(index, size, leaf, [], root)
    only = leaf_hash(bytes.fromhex(VECTORS["additional"]["single_entry_data"]))
    assert included(0, 1, only, [], only)
    for leaf, root in ((b"", only), (only, b""), (b"", b"")):
        assert not included(0, 1, leaf, [], root)


def damaged_consistencies(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]
) -> Iterator[tuple[int, int, bytes, bytes, list[bytes]]]:
    """The ways of `invalidConsistencyProof` in cmd/proofgen/main.go, in its order."""
    for other in (old - 1, old + 1, old ^ 2):
        yield other, new, old_root, new_root, proof
    for other in (new * 2, new // 2):
        yield old, other, old_root, new_root, proof
    for roots in ((b"WrongRoot", new_root), (old_root, b"WrongRoot"), (new_root, old_root)):
        yield old, new, *roots, proof
    yield old, new, old_root, new_root, []
    for extra in (b"", old_root, new_root):
        yield old, new, old_root, new_root, [*proof, extra]
    for extra in (b"", old_root, new_root, proof[0]):
        yield old, new, old_root, new_root, [extra, *proof]
    yield old, new, old_root, new_root, proof[:-1]
    for position in range(len(proof)):
        yield old, new, old_root, new_root, flipped(proof, position, 16)


def test_every_tree_continues_the_empty_one() -> None:
    assert consistent(0, 8, EMPTY_ROOT, ROOTS[7], [])
    assert consistent(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not consistent(0, 8, SOME_HASH, ROOTS[7], [])
    assert not consistent(0, 0, SOME_HASH, SOME_HASH, [])
    assert not consistent(0, 8, EMPTY_ROOT, ROOTS[7], [SOME_HASH])


@pytest.mark.parametrize("vector", VECTORS["consistency"])
def test_published_consistency_proofs_hold_until_they_are_damaged(vector: dict[str, Any]) -> None:
    old, new, proof = vector["size1"], vector["size2"], decoded(vector["proof"])
    roots = ROOTS[old - 1], ROOTS[new - 1]
    assert consistent(old, new, *roots, proof)
    for probe in damaged_consistencies(old, new, *roots, proof) if proof else ():
        assert not consistent(*probe), probe


def test_a_proof_longer_than_the_tree_is_high_is_refused_whatever_it_leads_to() -> None:
    higher = node_hash(SOME_HASH, ROOTS[1])
    assert included(1, 2, leaf_hash(LEAVES[1]), [ROOTS[0]], ROOTS[1])
    assert not included(1, 2, leaf_hash(LEAVES[1]), [ROOTS[0], SOME_HASH], higher)
    proof = [leaf_hash(LEAVES[2]), leaf_hash(LEAVES[3]), ROOTS[1]]
    assert consistent(3, 4, ROOTS[2], ROOTS[3], proof)
    roots = node_hash(SOME_HASH, ROOTS[2]), node_hash(SOME_HASH, ROOTS[3])
    assert not consistent(3, 4, *roots, [*proof, SOME_HASH])


@pytest.mark.parametrize(
    "probe", VECTORS["additional"]["consistency"], ids=lambda probe: probe["desc"].replace(" ", "-")
)
def test_published_consistency_probes_agree(probe: dict[str, Any]) -> None:
    roots = bytes.fromhex(probe["root1"]), bytes.fromhex(probe["root2"])
    held = consistent(probe["size1"], probe["size2"], *roots, decoded(probe["proof"]))
    assert held != probe["wantErr"]
