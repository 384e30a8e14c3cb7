"""The hash chain and the Merkle tree that every stored record passes through, once, in file order.

A record is the MCAP record as stored: opcode byte and content of a Schema (its text), a Channel (topic, encoding) or a
Message (channel, log time, publish time, CDR payload). The chain is h_i = SHA-256(0x02 || h_(i-1) || leaf_i) with
leaf_i = SHA-256(0x00 || record_i) and h_0 = SHA-256("longhand-log/1"). The third record is the session header with its
nonce and keys, so records of another session never fit.
"""

from hashlib import sha256

from safety.log.merkle import MerkleTree


class RecordChain:
    """State of the chain after `size` records."""

    __slots__ = ("head", "tree")

    def __init__(self) -> None:
        self.head = sha256(b"longhand-log/1").digest()
        self.tree = MerkleTree()

    @property
    def size(self) -> int:
        return self.tree.size

    def append(self, opcode: bytes, content: bytes | memoryview) -> None:
        """Take in one record."""
        leaf = sha256(b"\x00" + opcode + content).digest()
        self.head = sha256(b"\x02" + self.head + leaf).digest()
        self.tree.append(leaf)
