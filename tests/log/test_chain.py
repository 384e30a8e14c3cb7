"""Merkle tree against RFC 6962's own definition; checkpoints against every field changed."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from safety.log.chain import RecordChain
from safety.log.checkpoint import (
    Checkpoint,
    CheckpointError,
    check,
    check_signature_line,
    key_name,
    parse,
    sign,
    signature_line,
)
from safety.log.merkle import MerkleTree, leaf_hash

KEY = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
POINT = Checkpoint("ab" * 16, "a", 12, b"r" * 32, b"c" * 32, 999, b"f" * 32, 123456789, b"p" * 32, False)


def reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + reference_root(leaves[:k]) + reference_root(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=40))
def test_the_growing_tree_has_the_roots_of_the_rfc(leaves):
    tree = MerkleTree()
    assert tree.root() == reference_root([])
    for count, leaf in enumerate(leaves, 1):
        tree.append(leaf_hash(leaf))
        assert (tree.size, tree.root()) == (count, reference_root(leaves[:count]))


def test_the_chain_depends_on_order_and_kind():
    a, b, c = RecordChain(), RecordChain(), RecordChain()
    for chain, records in ((a, ("x", "y")), (b, ("y", "x")), (c, ("x", "y"))):
        for text in records:
            chain.append(b"\x05" if chain is not c else b"\x04", text.encode())
    assert len({a.head, b.head, c.head}) == 3


def test_a_signed_checkpoint_reads_back_equal():
    assert check(sign(POINT, KEY), PUBLIC) == POINT


def test_the_note_is_in_the_form_of_the_c2sp_checkpoint():
    lines = sign(POINT, KEY).split("\n")
    assert lines[0] == "longhand-log/" + "ab" * 16 + "/a"
    assert lines[1] == "12"
    assert lines[8] == "" and lines[9].startswith("— longhand-log/") and lines[10] == ""


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_of_a_note_passes(position, flip):
    data = bytearray(sign(POINT, KEY).encode())
    data[position % len(data)] ^= flip
    with pytest.raises((CheckpointError, UnicodeDecodeError)):
        check(data.decode(), PUBLIC)


def test_another_key_is_named_as_such():
    other = Ed25519PrivateKey.from_private_bytes(b"\x06" * 32)
    with pytest.raises(CheckpointError, match="another key"):
        check(sign(POINT, other), PUBLIC)


def test_a_second_site_can_cosign_the_same_text():
    other = Ed25519PrivateKey.from_private_bytes(b"\x06" * 32)
    name = key_name("ab" * 16, "b")
    line = signature_line(POINT.text(), name, other)
    check_signature_line(line, POINT.text(), name, other.public_key().public_bytes_raw())
    with pytest.raises(CheckpointError):
        check_signature_line(line, POINT.text().replace("12", "13"), name, other.public_key().public_bytes_raw())


@pytest.mark.parametrize("note", ["", "\n\n", "hello\n\n— x y\n", "a/b/c\n" * 9 + "\n— x y\n"])
def test_what_is_no_checkpoint_is_refused(note):
    with pytest.raises(CheckpointError):
        parse(note)
