"""Check a proof about an audit trail offline: say what it proves; or what failed, and exit with 1.

python verify_proof.py KEYS.vkeys EVENT.json PROOF.tlog-proof         the event is in the signed tree
python verify_proof.py KEYS.vkeys OLD-CHECKPOINT CONSISTENCY-PROOF    the trail still starts as it did then
"""
# ruff: noqa: D103, T201

import re
import sys
from base64 import b64decode
from hashlib import sha256, sha512
from pathlib import Path

P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # of Ed25519: RFC 8032, 5.1
BASE = 15112221349535400772501151409588531511454012693041857206046113283949847762202, 4 * pow(5, -1, P) % P
D = -121665 * pow(121666, -1, P)
PROOF = r"\A(c2sp\.org/tlog-proof@v1\n(?:extra .*\n)?index|old) (0|[1-9][0-9]*)((?:\n[0-9A-Za-z+/]{43}=)*)\Z"


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    (x, y), (u, v), k = a, b, D * a[0] * a[1] * b[0] * b[1]
    return (x * v + u * y) * pow(1 + k, -1, P) % P, (y * v + x * u) * pow(1 - k, -1, P) % P


def times(factor: int, point: tuple[int, int]) -> tuple[int, int]:
    even = times(factor >> 1, add(point, point)) if factor else (0, 1)
    return add(even, point) if factor & 1 else even


def signed(public: bytes, text: bytes, signature: bytes) -> bool:  # RFC 8032, 5.1.3 and 5.1.7
    y, odd = int.from_bytes(public, "little") % 2**255, public[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    digest = sha512(signature[:32] + public + text).digest()
    scalar, factor = (int.from_bytes(number, "little") for number in (signature[32:], digest))
    x, y = add(times(scalar, BASE), times(factor % ORDER, (P - x if x & 1 == odd else x, y)))
    return scalar < ORDER and (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def read_checkpoint(note: str, keys: dict[str, str]) -> tuple[str, int, bytes]:  # C2SP tlog-checkpoint
    text, _, lines = note.rpartition("\n\n")
    for name, signature in re.findall(r"^— (\S+) ([0-9A-Za-z+/]{91}=)\n(?=—|\Z)", lines, re.M):
        public = keys.get(f"{name}+{b64decode(signature)[:4].hex()}")
        if public and signed(b64decode(public)[1:], f"{text}\n".encode(), b64decode(signature)[4:]):
            origin, size, root = text.split("\n")[:3]
            return f"{origin}, signed by {name}, root {root}", int(size), b64decode(root)
    raise ValueError("a checkpoint was not signed by these keys")


def climb(index: int, last: int, old: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:  # RFC 9162, 2.1
    new, inner = old, (index ^ last).bit_length()
    for level, other in zip(range(inner + (index >> inner).bit_count()), proof, strict=True):
        left = level >= inner or index >> level & 1
        old = sha256(b"\1" + other + old).digest() if left else old
        new = sha256(b"\1" + (other + new if left else new + other)).digest()
    return old, new


def check(vkeys: bytes, subject: bytes, proof: bytes) -> str:
    keys = dict(re.findall(r"^\s*(\S+\+[0-9a-f]{8})\+(A[Q-Za-f][0-9A-Za-z+/]{42})\s*$", vkeys.decode(), re.M))
    head, _, note = proof.decode().partition("\n\n")
    ((kind, number, lines),) = re.findall(PROOF, head)
    index, hashes = int(number), [b64decode(line) for line in lines.split()]
    leaf = sha256(b"\0" + subject.removesuffix(b"\n")).digest()
    trail, size, root = read_checkpoint(note, keys)
    if kind == "old":
        _, old, then = read_checkpoint(subject.decode(), keys)
        first, *rest = hashes if old & old - 1 and old < size else [then, *hashes]
        shift = (old & -old).bit_length() - 1 if old < size else old.bit_length()
        if index == old <= size and climb(old - 1 >> shift, size - 1 >> shift, first, rest) == (then, root):
            return f"the first {old} rows are still those of the old checkpoint, among {size} of {trail}"
    elif index < size and climb(index, size - 1, leaf, hashes)[1] == root:
        return f"the event is row {index + 1} among {size} of {trail}"
    raise ValueError("the hashes do not lead to the root that was signed")


if __name__ == "__main__":
    try:
        print(check(*(Path(name).read_bytes() for name in sys.argv[1:])))
    except (ValueError, OSError, TypeError) as error:
        sys.exit(f"nothing is proved: {error}")
