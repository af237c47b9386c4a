"""The Merkle tree of RFC 6962, section 2.1 (RFC 9162 keeps it): hashes, and proofs as lists of tree nodes.

A node (level, index) covers the leaves index * 2^level up to (index + 1) * 2^level, leaves counted from 0.
Only perfect subtrees are nodes here; the root of any tree folds those that cover it.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

Node = tuple[int, int]
"""Level and index of a perfect subtree."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""


def leaf_hash(body: bytes) -> bytes:
    """Hash of one leaf, 32 bytes."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over its children's hashes, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root over the perfect subtrees that cover a range, given from left to right, at least one."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def covering_nodes(first: int, end: int) -> list[Node]:
    """The perfect subtrees that cover leaves `first` up to `end`, from left to right, as RFC 6962 splits."""
    nodes: list[Node] = []
    while first < end:
        aligned = (first & -first).bit_length() - 1 if first else end.bit_length()
        level = min((end - first).bit_length() - 1, aligned)
        nodes.append((level, first >> level))
        first += 1 << level
    return nodes


def grow(frontier: list[tuple[Node, bytes]], index: int, leaf: bytes) -> bytes:
    """Add leaf `index` to a tree, given by the perfect subtrees that cover it, in place.

    Returns:
        The hashes of every perfect subtree that this leaf completes, the leaf's own first.
    """
    return b"".join(join(frontier, (0, index), leaf))


def join(frontier: list[tuple[Node, bytes]], node: Node, value: bytes) -> list[bytes]:
    """Add the perfect subtree `node`, which starts where the tree ends; otherwise like `grow`."""
    completed = [value]
    while frontier and frontier[-1][0][0] == node[0]:
        value = node_hash(frontier.pop()[1], value)
        node = (node[0] + 1, node[1] >> 1)
        completed.append(value)
    frontier.append((node, value))
    return completed


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Leaf ranges whose roots form the proof that leaf `index` is in the tree of `size` (RFC 6962)."""
    ranges: list[tuple[int, int]] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Leaf ranges whose roots prove that the tree of `new` leaves continues that of `old` (RFC 6962)."""
    if not 0 < old < new:
        return []
    ranges: list[tuple[int, int]] = []
    first, end = 0, new
    while old != end:
        middle = first + _split(end - first)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    if first:
        ranges.append((first, end))
    return ranges[::-1]


def prove(ranges: Iterable[tuple[int, int]], hash_of: Callable[[Node], bytes]) -> tuple[bytes, ...]:
    """Hashes of leaf ranges, each folded from the perfect subtrees that `hash_of` looks up."""
    return tuple(fold([hash_of(node) for node in covering_nodes(*leaves)]) for leaves in ranges)


def includes(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows leaf `index` in the tree of `size` leaves with that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _digests(leaf, root, *proof):
        return False
    place, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            current = node_hash(sibling, current)
            place, last = _climb(place, last)
        else:
            current = node_hash(current, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and current == root


def continues(*, old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether `proof` shows that the tree of `new` leaves starts with that of `old` (RFC 9162, 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root and (old > 0 or old_root == EMPTY_ROOT)
    if not 0 <= old < new or not _digests(old_root, new_root, *proof):
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    nodes = ([old_root] if old & (old - 1) == 0 else []) + list(proof)
    if not proof:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_side = new_side = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_side, new_side = node_hash(sibling, old_side), node_hash(sibling, new_side)
            place, last = _climb(place, last)
        else:
            new_side = node_hash(new_side, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and old_side == old_root and new_side == new_root


def _split(leaves: int) -> int:
    """The largest power of two below `leaves`."""
    return 1 << (leaves - 1).bit_length() - 1


def _climb(place: int, last: int) -> tuple[int, int]:
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _digests(*hashes: bytes) -> bool:
    return all(len(value) == 32 for value in hashes)
