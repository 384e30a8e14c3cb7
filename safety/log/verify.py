"""Is this log what its writer wrote? Tells a clean end, a cut and tampering apart, and says where.

A file without its end was cut: by a power failure, by kill -9, or by hand, which one log alone cannot tell but another
site's can. What stands behind its last checkpoint, at most a second, is readable but not vouched for. Damage anywhere else,
or damage followed by a checkpoint of the same session that still carries a good signature, is tampering.
"""

import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safety.log import container
from safety.log.checkpoint import ORIGIN, CheckpointError, check
from safety.log.walk import Bad, NotALog, PeerSeen, Trusted, Walk

__all__ = ["CLEAN", "TAMPERED", "UNCLEAN", "FileReport", "FirstBad", "NotALog", "Report", "Trusted", "verify", "verify_file"]

CLEAN, UNCLEAN, TAMPERED = "clean", "unclean", "tampered"
#: The longest note that a scan for later checkpoints reads, bytes.
_NOTE_MAX = 4096


@dataclass(frozen=True, slots=True)
class FirstBad:
    """Where the file stops being what was written. byte: offset in the file; record: records before it fit the chain;
    after_mono: stamp of the last good checkpoint (ns, robot clock), None before the first."""

    byte: int
    record: int
    what: str
    after_mono: int | None


@dataclass(slots=True)
class FileReport:
    """Verdict on one file. records: those that fit the chain; signed: those a good checkpoint vouches for."""

    path: str
    end: str
    session: str
    site: str
    arm: str
    case_id: str
    records: int
    signed: int
    messages: int
    checkpoints: int
    gaps: int
    dropped: int
    first_bad: FirstBad | None
    close_reason: str | None
    site_key: str
    key_pinned: bool
    first_mono: int
    last_mono: int
    signed_until_mono: int | None
    digests: dict[bytes, int] = field(repr=False)
    peers: list[PeerSeen] = field(repr=False)
    session_key: bytes = field(repr=False)
    known_keys: dict[str, str] = field(repr=False)  # site -> Ed25519 key (hex) that this log's header names for others

    @property
    def ok(self) -> bool:
        return self.end == CLEAN


@dataclass(slots=True)
class Report:
    """Verdict on the logs of one session. cross: contradictions between them; witnessed: checkpoints of one found in another."""

    files: list[FileReport]
    cross: list[str] = field(default_factory=list)
    witnessed: int = 0

    @property
    def end(self) -> str:
        if self.cross or any(f.end == TAMPERED for f in self.files):
            return TAMPERED
        return CLEAN if all(f.ok for f in self.files) else UNCLEAN

    @property
    def ok(self) -> bool:
        return self.end == CLEAN

    @property
    def exit_code(self) -> int:
        """0 clean, 1 unclean end, 3 tampered."""
        return {CLEAN: 0, UNCLEAN: 1, TAMPERED: 3}[self.end]

    def to_json(self) -> dict[str, Any]:
        """{ok, end, records, first_bad, ...} for `--json`."""
        bad = next((f for f in self.files if f.first_bad is not None), None)
        return {
            "ok": self.ok, "end": self.end, "records": sum(f.records for f in self.files),
            "first_bad": None if bad is None else _bad_json(bad),
            "cross": self.cross, "witnessed": self.witnessed, "files": [_file_json(f) for f in self.files],
        }  # fmt: skip


def _bad_json(report: FileReport) -> dict[str, Any]:
    bad = report.first_bad
    assert bad is not None
    return {"file": report.path, "byte": bad.byte, "record": bad.record, "what": bad.what, "after_mono": bad.after_mono}


def _file_json(report: FileReport) -> dict[str, Any]:
    hidden = ("digests", "peers", "session_key", "known_keys", "first_bad")
    out = {name: getattr(report, name) for name in FileReport.__slots__ if name not in hidden}
    return {**out, "ok": report.ok, "first_bad": None if report.first_bad is None else _bad_json(report)}


def verify_file(path: Path, trusted: Iterable[Trusted] = ()) -> FileReport:
    """Check one file. trusted: Ed25519 public keys of the sites, or (site, key); without any, the log's own key is taken
    on its word and `key_pinned` is False. Raises NotALog, OSError."""
    keys = frozenset(trusted)
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size == 0:
            raise NotALog(f"{path}: the file is empty")
        # Not closed by hand: errors on their way out hold views of it, and it goes with the last of them.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    walk = Walk(data, keys)
    bad: Bad | None = None
    try:
        walk.run()
    except NotALog as error:
        if walk.chain.size or not _mentions_us(data):
            raise NotALog(f"{path}: {error}") from None
        bad = Bad(0, str(error))
    except Bad as found:
        bad = found
    if bad is not None and walk.header is None:
        if bad.cut:
            raise NotALog(f"{path}: cut off inside its session header: nothing was recorded yet")
        if not _mentions_us(data):
            raise NotALog(f"{path}: holds no readable session header ({bad.what} at byte {bad.byte})")
    return _report(path, walk, bad, CLEAN if bad is None else _judge(data, walk, bad), bool(keys))


def _mentions_us(data: memoryview) -> bool:
    return bytes(data[: 1 << 16]).find(b"longhand_msgs/msg/SessionHeader") >= 0


def _judge(data: memoryview, walk: Walk, bad: Bad) -> str:
    """Cut or tampered with? See the head of this file."""
    if walk.newest is not None and walk.newest.closed:
        return UNCLEAN if bad.cut else TAMPERED
    if walk.header is None or data[-len(container.MAGIC) :] == container.MAGIC:
        return TAMPERED  # its end is there: nothing was cut off
    if walk.newest is None:
        # Before its first checkpoint nothing is signed; a header that is there and bad was changed.
        return UNCLEAN if bad.cut else TAMPERED
    if bad.byte < walk.newest.file_bytes:
        return TAMPERED
    origin = f"{ORIGIN}/{walk.header['session']}/{walk.header['site']}\n".encode()
    tail = bytes(data[bad.byte :])
    position = tail.find(origin)
    while position >= 0:
        end = tail.find(b"\n\xe2\x80\x94 ", position, position + _NOTE_MAX)
        stop = tail.find(b"\n", end + 4, position + _NOTE_MAX) if end >= 0 else -1
        if stop >= 0:
            try:
                later = check(tail[position : stop + 1].decode(), walk.header["session_public_key"])
                if later.size > walk.newest.size:
                    return TAMPERED
            except (CheckpointError, UnicodeDecodeError):
                pass
        position = tail.find(origin, position + 1)
    return UNCLEAN


def _report(path: Path, walk: Walk, bad: Bad | None, end: str, pinned: bool) -> FileReport:
    header = walk.header
    newest = walk.newest
    after = newest.mono if newest else None
    return FileReport(
        path=str(path), end=end,
        session=header["session"] if header else "", site=header["site"] if header else "",
        arm=header["arm"] if header else "", case_id=header["case_id"] if header else "",
        records=walk.chain.size, signed=newest.size if newest else 0, messages=walk.messages, checkpoints=walk.checkpoints,
        gaps=walk.gaps, dropped=walk.dropped,
        first_bad=None if bad is None else FirstBad(bad.byte, walk.chain.size, bad.what, after),
        close_reason=walk.close["reason"] if walk.close else None,
        site_key=header["site_public_key"].hex() if header else "", key_pinned=pinned and header is not None,
        first_mono=walk.first_mono, last_mono=walk.last_mono, signed_until_mono=after,
        digests=walk.digests, peers=walk.peers,
        session_key=header["session_public_key"] if header else b"", known_keys=_known_keys(header),
    )  # fmt: skip


def _known_keys(header: dict[str, Any] | None) -> dict[str, str]:
    try:
        sites = json.loads(header["details"]).get("site_keys", {}) if header else {}
        return {str(k): str(v) for k, v in sites.items()}
    except (ValueError, AttributeError):
        return {}


def verify(paths: Iterable[Path], trusted: Iterable[Trusted] = ()) -> Report:
    """Check logs, and those of several sites against each other.

    Raises NotALog, OSError; ValueError when the logs are not of one session."""
    keys = tuple(trusted)
    report = Report([verify_file(Path(p), keys) for p in paths])
    if len(report.files) > 1:
        _cross_check(report)
    return report


def _cross_check(report: Report) -> None:
    sessions = {f.session for f in report.files if f.session}
    if len(sessions) > 1:
        listed = "; ".join(f"{f.path}: {f.session[:16] or '?'}" for f in report.files)
        raise ValueError(f"these logs are of different sessions, so they cannot vouch for each other ({listed})")
    by_site: dict[str, FileReport] = {}
    for file in report.files:
        if file.site in by_site:
            report.cross.append(f"{file.path} and {by_site[file.site].path} both claim to be the log of site {file.site}")
        by_site.setdefault(file.site, file)
    for witness in report.files:
        for site, key in witness.known_keys.items():
            other = by_site.get(site)
            if other is not None and other.site_key and other.site_key != key:
                report.cross.append(
                    f"{witness.path} knows site {site} by key {key[:16]}..., {other.path} is signed by {other.site_key[:16]}..."
                )
        for seen in witness.peers:
            other = by_site.get(seen.site)
            if other is None or other is witness:
                continue
            if any(d.startswith(seen.digest) for d in other.digests) if len(seen.digest) < 32 else seen.digest in other.digests:
                report.witnessed += 1
            else:
                report.cross.append(
                    f"{witness.path} record {seen.record} witnessed a checkpoint {seen.digest[:8].hex()} of site {seen.site} "
                    f"that {other.path} does not hold: {_why_missing(seen, other)}"
                )
                break


def _why_missing(seen: PeerSeen, other: FileReport) -> str:
    """The checkpoint is not in the other log; was it ever made by its session key?"""
    if not seen.note:
        return "it was cut or rewritten (only the hash was carried, so whoever carried it could have invented it)"
    try:
        check(seen.note, other.session_key)
    except CheckpointError:
        return "that log's session key did not sign it: the log was made anew, or whoever carried the checkpoint invented it"
    return "it was cut or rewritten, for its session key signed that checkpoint"
