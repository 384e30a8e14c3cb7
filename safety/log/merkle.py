"""RFC 6962 Merkle tree over the records of a log, grown one leaf at a time.

Leaf hash SHA-256(0x00 || record), node hash SHA-256(0x01 || left || right) (RFC 6962 section 2.1). Only the roots of the
complete subtrees are kept (one per set bit of the size), so a 3.5-hour log costs a few dozen hashes of memory.
"""

from hashlib import sha256


def leaf_hash(record: bytes | bytearray | memoryview) -> bytes:
    """Hash of one leaf."""
    return sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """Append-only tree; `root()` at any time."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of complete subtrees, largest first

    def append(self, leaf: bytes) -> None:
        """Add a leaf *hash*. Merges as many equal subtrees as the binary increment carries."""
        self._peaks.append(leaf)
        self.size += 1
        size = self.size
        while size & 1 == 0:
            right = self._peaks.pop()
            self._peaks[-1] = sha256(b"\x01" + self._peaks[-1] + right).digest()
            size >>= 1

    def root(self) -> bytes:
        """Root of the tree so far; of the empty tree SHA-256 of nothing (RFC 6962)."""
        if not self._peaks:
            return sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root
