"""What was written verifies; what was changed is found, named, and told apart from what was merely cut."""

import json
import random
import shutil
import struct
import subprocess
import sys
import zlib

import pytest

from safety.log import NotALog, SessionLog, container, session, verify
from safety.log.verify import CLEAN, TAMPERED, UNCLEAN
from safety.log.writer import LogError
from tests.log.logs import (
    EVENT,
    MS,
    OTHER_KEY,
    OTHER_PUBLIC,
    PUBLIC,
    SESSION,
    SITE_KEY,
    START,
    event,
    open_log,
    short_log,
    write_events,
)


def verdict(path, data, trusted=(PUBLIC,)):
    changed = path.with_name("changed.mcap")
    changed.write_bytes(data)
    try:
        return verify([changed], trusted).files[0]
    except NotALog as error:
        return error


def top_level(data: bytes):
    """(opcode, begin, end) of the records at the top of a file."""
    position = len(container.MAGIC)
    while position < len(data) - len(container.MAGIC):
        length = struct.unpack_from("<Q", data, position + 1)[0]
        yield data[position : position + 1], position, position + 9 + length
        position += 9 + length


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return short_log(tmp_path_factory.mktemp("log") / "a.mcap")


def test_a_closed_log_is_clean_and_counts_its_records(log):
    report = verify([log], [PUBLIC])
    file = report.files[0]
    assert (report.exit_code, file.end, file.site, file.close_reason, file.first_bad) == (0, CLEAN, "a", "test over", None)
    assert file.messages == 1 + 120 + file.checkpoints + 1
    assert file.signed == file.records - 1  # the closing checkpoint vouches for everything but itself
    assert file.key_pinned


def test_without_a_trusted_key_the_report_says_that_the_key_is_the_logs_own(log):
    assert not verify([log]).files[0].key_pinned


@pytest.mark.parametrize("seed", range(4))
def test_any_flipped_bit_is_found_with_its_position(log, seed):
    rng = random.Random(seed)
    data = log.read_bytes()
    for _ in range(60):
        position = rng.randrange(len(data))
        changed = bytearray(data)
        changed[position] ^= 1 << rng.randrange(8)
        found = verdict(log, changed)
        assert found.end == TAMPERED, position
        # Named at its place: not behind it, and not further before it than one signed interval.
        assert found.first_bad.byte <= position <= found.first_bad.byte + 20_000


@pytest.mark.parametrize("seed", range(4))
def test_any_deleted_or_inserted_run_is_found(log, seed):
    rng = random.Random(seed)
    data = log.read_bytes()
    for _ in range(30):
        a = rng.randrange(len(data) - 1)
        b = min(len(data) - 1, a + 1 + rng.randrange(400))
        for changed in (data[:a] + data[b:], data[:a] + rng.randbytes(b - a) + data[a:], data + rng.randbytes(3)):
            found = verdict(log, changed)
            assert isinstance(found, NotALog) or found.end == TAMPERED, (a, b)


def test_every_cut_is_an_unclean_end_and_what_was_signed_before_it_still_verifies(log):
    data = log.read_bytes()
    signed = []
    for cut in range(1, len(data), 997):
        found = verdict(log, data[:cut])
        if isinstance(found, NotALog):
            assert cut < 8000  # inside the header
            continue
        assert found.end == UNCLEAN, cut
        signed.append(found.signed)
    assert signed == sorted(signed) and signed[-1] > 100


def test_a_flip_before_a_cut_is_tampering_not_a_cut(log):
    data = bytearray(log.read_bytes()[:-5000])
    data[len(data) // 2] ^= 4
    assert verdict(log, data).end == TAMPERED


def test_a_length_field_that_points_beyond_the_end_is_tampering_when_signed_checkpoints_follow(log):
    data = bytearray(log.read_bytes()[:-5000])
    chunks = [begin for opcode, begin, end in top_level(log.read_bytes()) if opcode == container.CHUNK]
    struct.pack_into("<Q", data, chunks[4] + 1, 1 << 24)
    assert verdict(log, data).end == TAMPERED


def rebuilt_chunk(records: bytes, start: int, end: int) -> bytes:
    return container.record(container.CHUNK, container.chunk_content(start, end, records, "", records))


def test_a_changed_record_with_all_checksums_mended_is_found_by_the_signed_chain(tmp_path):
    """The attacker knows the format: mends CRC, index and everything but the signature."""
    key, path = SITE_KEY, tmp_path / "a.mcap"
    log = SessionLog(path, key, open_info(), mono=START, utc=10**18, compression=False)
    stamp = write_events(log, 60)
    log.close(stamp, "x")
    data = bytearray(path.read_bytes())
    place = data.index(b"step 17")
    data[place : place + 7] = b"step 71"
    for opcode, begin, end in list(top_level(bytes(data))):
        if opcode == container.CHUNK and begin < place < end:
            head = container.parse_chunk(memoryview(bytes(data))[begin + 9 : end])
            struct.pack_into("<I", data, begin + 9 + 24, zlib.crc32(head.stored))
            break
    found = verdict(path, data)
    assert found.end == TAMPERED and "not those that were signed" in found.first_bad.what
    assert found.first_bad.byte <= place


def open_info():
    return session.SessionInfo(session=SESSION, site="a")


def test_two_swapped_chunks_are_found(log):
    data = log.read_bytes()
    records = list(top_level(data))
    chunks = [i for i, r in enumerate(records) if r[0] == container.CHUNK]
    a, b, c = (records[chunks[i]][1] for i in (3, 4, 5))
    found = verdict(log, data[:a] + data[b:c] + data[a:b] + data[c:])
    assert found.end == TAMPERED and ("moved" in found.first_bad.what or "out of order" in found.first_bad.what)


def test_a_splice_of_two_sessions_is_found(tmp_path):
    one = short_log(tmp_path / "one.mcap").read_bytes()
    two = short_log(tmp_path / "two.mcap", session=b"\x77" * 16).read_bytes()
    half = [r for r in top_level(one) if r[0] == container.CHUNK][4][1]
    assert verdict(tmp_path / "one.mcap", one[:half] + two[half:]).end == TAMPERED


def test_a_log_signed_anew_by_another_site_key_is_found_by_the_trusted_key(tmp_path):
    forged = short_log(tmp_path / "forged.mcap", key=OTHER_KEY)
    found = verify([forged], [PUBLIC]).files[0]
    assert found.end == TAMPERED and "not one of the keys to be trusted" in found.first_bad.what


def test_a_role_table_trusts_each_key_for_logs_of_its_own_name_only(tmp_path):
    log = short_log(tmp_path / "a.mcap")
    assert verify([log], [("b", OTHER_PUBLIC), ("a", PUBLIC)]).files[0].key_pinned
    forged = short_log(tmp_path / "forged.mcap", key=OTHER_KEY)
    found = verify([forged], [("b", OTHER_PUBLIC), ("a", PUBLIC)])
    assert found.end == TAMPERED and "trusted for a" in found.files[0].first_bad.what


def test_the_command_takes_the_keys_of_hospitals_and_consoles_from_the_role_table(tmp_path):
    from teleop.cli.verify import trusted_from_roles
    from teleop.link.keys import load_secret, make_directory

    make_directory(tmp_path / "keys", ["a"], [("beijing", "surgeon")])
    for name in ("a", "beijing"):
        short_log(tmp_path / f"{name}.mcap", site=name, key=load_secret(tmp_path / "keys" / name).signer())
    trusted = trusted_from_roles(tmp_path / "keys")
    assert verify([tmp_path / "a.mcap", tmp_path / "beijing.mcap"], trusted).ok
    short_log(tmp_path / "forged.mcap", site="a", key=load_secret(tmp_path / "keys" / "beijing").signer())
    assert verify([tmp_path / "forged.mcap"], trusted).exit_code == 3
    with pytest.raises(ValueError, match="no role table"):
        trusted_from_roles(tmp_path / "nowhere")


def test_the_writer_never_lets_the_clock_run_backward(tmp_path):
    log = open_log(tmp_path / "a.mcap")
    rng = random.Random(1)
    log.write("governor/event", EVENT, event(1, rng), START + 50 * MS)
    log.write("governor/event", EVENT, event(2, rng), START + 10 * MS)
    log.close(START + 60 * MS, "x")
    assert verify([log.path]).ok


def test_a_clock_that_was_rolled_back_in_the_file_is_found(tmp_path):
    log = SessionLog(tmp_path / "a.mcap", SITE_KEY, open_info(), mono=START, utc=10**18, compression=False)
    rng = random.Random(1)
    log.write("governor/event", EVENT, event(1, rng), START + 50 * MS)
    log._last_log_time = 0  # a writer without that care
    log.write("governor/event", EVENT, event(2, rng), START + 10 * MS)
    log.close(START + 60 * MS, "x")
    found = verify([log.path]).files[0]
    assert found.end == TAMPERED and "clock runs backward" in found.first_bad.what


def test_nothing_can_be_written_after_the_close(tmp_path):
    log = open_log(tmp_path / "a.mcap")
    log.close(START, "x")
    with pytest.raises(LogError, match="closed"):
        log.write("governor/event", EVENT, {}, START)
    with pytest.raises(FileExistsError):
        open_log(tmp_path / "a.mcap")


# Both sites


def two_logs(tmp_path, notes: bool = True):
    a = open_log(tmp_path / "a.mcap", "a", SITE_KEY, details={"site_keys": {"b": OTHER_PUBLIC.hex()}})
    b = open_log(tmp_path / "b.mcap", "b", OTHER_KEY, details={"site_keys": {"a": PUBLIC.hex()}})
    rng = random.Random(3)
    for n in range(200):
        stamp = START + n * 10 * MS
        for mine, other, name in ((a, b, "b"), (b, a, "a")):
            mine.write("governor/event", EVENT, event(n, rng), stamp)
            if mine.tick(stamp):
                mine.peer_checkpoint(name, stamp, note=other.newest_note if notes else "",
                                     digest=other.newest.digest()[:8])  # fmt: skip
    for log in (a, b):
        log.close(START + 2001 * MS, "over")
    return a.path, b.path


@pytest.mark.parametrize("notes", [True, False])
def test_the_logs_of_two_sites_witness_each_other(tmp_path, notes):
    report = verify(two_logs(tmp_path, notes), [PUBLIC, OTHER_PUBLIC])
    assert report.ok and report.witnessed >= 6 and not report.cross


@pytest.mark.parametrize("notes", [True, False])
def test_a_log_that_was_cut_by_hand_is_found_by_the_other_sites(tmp_path, notes):
    a, b = two_logs(tmp_path, notes)
    b.write_bytes(b.read_bytes()[: b.stat().st_size // 4])
    assert verify([b]).end == UNCLEAN
    report = verify([a, b])
    assert report.end == TAMPERED and "cut or rewritten" in report.cross[0]


def test_a_log_that_was_made_anew_by_its_own_site_is_found_by_the_other_sites(tmp_path):
    a, b = two_logs(tmp_path)
    b.unlink()
    short_log(b, site="b", key=OTHER_KEY)
    assert verify([b], [OTHER_PUBLIC]).ok
    assert verify([a, b]).end == TAMPERED


def test_a_site_that_shows_another_key_than_the_one_its_partner_knew_is_found(tmp_path):
    a, b = two_logs(tmp_path)
    b.unlink()
    short_log(b, site="b", key=SITE_KEY)
    assert any("by key" in line for line in verify([a, b]).cross)


def test_logs_of_different_sessions_are_refused(tmp_path):
    short_log(tmp_path / "a.mcap")
    short_log(tmp_path / "b.mcap", site="b", session=b"\x88" * 16)
    with pytest.raises(ValueError, match="different sessions"):
        verify([tmp_path / "a.mcap", tmp_path / "b.mcap"])


# Bad input


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89MCAP0\r\n", bytes(1000)])
def test_what_is_not_a_log_is_called_that(tmp_path, content):
    (tmp_path / "x.mcap").write_bytes(content)
    with pytest.raises(NotALog, match=r"x\.mcap"):
        verify([tmp_path / "x.mcap"])


def test_an_mcap_file_of_somebody_else_is_called_not_a_log(tmp_path):
    from mcap.writer import Writer

    with open(tmp_path / "x.mcap", "wb") as file:
        writer = Writer(file)
        writer.start("ros2", "other")
        writer.finish()
    with pytest.raises(NotALog, match="does not begin like"):
        verify([tmp_path / "x.mcap"])


def test_a_log_of_no_messages_is_clean(tmp_path):
    log = open_log(tmp_path / "a.mcap")
    log.close(START, "nothing happened")
    assert verify([log.path]).ok


def test_another_header_version_is_an_error_that_names_both_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "HEADER_VERSION", 7)
    short_log(tmp_path / "a.mcap")
    monkeypatch.undo()
    with pytest.raises(NotALog, match="version 7; this program reads version 1"):
        verify([tmp_path / "a.mcap"])


# Command line


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "teleop.cli._main", "verify", *map(str, words)], capture_output=True, text=True
    )


def test_exit_codes_and_json_of_the_command(log, tmp_path):
    clean = run(log, "--json")
    assert clean.returncode == 0
    out = json.loads(clean.stdout)
    assert (out["ok"], out["end"], out["first_bad"]) == (True, "clean", None) and out["records"] > 100

    cut = tmp_path / "cut.mcap"
    cut.write_bytes(log.read_bytes()[:9000])
    assert run(cut).returncode == 1

    bad = tmp_path / "bad.mcap"
    shutil.copy(log, bad)
    data = bytearray(bad.read_bytes())
    data[9000] ^= 1
    bad.write_bytes(data)
    tampered = run(bad, "--json")
    out = json.loads(tampered.stdout)
    assert tampered.returncode == 3 and out["end"] == "tampered" and 0 < out["first_bad"]["byte"] <= 9000

    missing = run(tmp_path / "none.mcap")
    assert missing.returncode == 1 and "none.mcap" in missing.stderr
    assert run().returncode == 2


def test_a_checkpoint_of_another_session_is_not_taken_in(tmp_path):
    a = open_log(tmp_path / "a.mcap")
    other = open_log(tmp_path / "b.mcap", site="b", key=OTHER_KEY, session=b"o" * 16)
    with pytest.raises(LogError, match="another session"):
        a.peer_checkpoint("b", START, note=other.newest_note)
    a.close(START, "x")
    assert verify([a.path]).files[0].peers == []


def test_a_missing_checkpoint_is_said_to_be_signed_by_that_log_or_not(tmp_path):
    def pair(folder, carried):
        folder.mkdir()
        a, b = open_log(folder / "a.mcap"), open_log(folder / "b.mcap", site="b", key=OTHER_KEY)
        a.peer_checkpoint("b", START, note=carried(b))
        a.close(START, "x")
        b.close(START + MS, "x")
        return a.path, b.path

    begin = []

    def later(b):
        begin.append(b.path.stat().st_size)
        b.checkpoint(START + MS // 2)
        return b.newest_note

    a, b = pair(tmp_path / "good", later)
    assert verify([a, b]).ok
    a, b = pair(tmp_path / "cut", later)
    b.write_bytes(b.read_bytes()[: begin[-1]])
    found = verify([a, b])
    assert found.exit_code == 3 and "its session key signed that checkpoint" in found.cross[0]
    stranger = open_log(tmp_path / "c.mcap", site="b", key=OTHER_KEY)
    a, b = pair(tmp_path / "invented", lambda _: stranger.newest_note)
    found = verify([a, b])
    assert found.exit_code == 3 and "invented it" in found.cross[0]
