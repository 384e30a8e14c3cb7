"""The printable certificate of a line: signed, checked, one page."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from teleop.cli.check_network import parser, run
from teleop.link.keys import Roles, load_roles, load_secret, make_directory, revoke
from teleop.review import line_certificate
from teleop.review.line_certificate import CertificateError, check, html, make
from teleop.review.report import find_chromium, write_pdf

UTC = "2026-01-02T03:04:05+00:00"


def measured(passed: bool = True, seconds: float = 180.0) -> dict[str, Any]:
    path = {
        "path": 0, "rtt_ms": {"p50": 12.0, "p99": 31.5, "max": 80.0, "samples": 900}, "loss_up": 0.001, "loss_down": 0.002,
        "bursts_down": {"1": 3}, "longest_burst_down": 1, "reordered": 0, "duplicates": 0, "jitter_ms": 2.0, "longest_gap_ms": 44.0,
        "throughput_mbps": 7.9, "good": passed, "why": [] if passed else ["loss 9.0%, at most 5%"],
    }  # fmt: skip
    return {
        "site": "a", "passed": passed, "valid": passed and seconds >= 120, "demo": seconds < 120, "why": "", "seconds": seconds, "rate_hz": 100,
        "bytes_up": 512, "bytes_down": 1232, "combined_longest_gap_ms": 30.0, "paths": [path, {**path, "path": 1}],
    }  # fmt: skip


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    directory = tmp_path / "keys"
    make_directory(directory, ["a"], [("lin", "surgeon")])
    return directory


def certificate(keys: Path, result: dict[str, Any] | None = None, **more: Any) -> tuple[dict[str, Any], Roles]:
    roles = load_roles(keys)
    secret = load_secret(keys / "lin")
    return make(result or measured(), secret, roles.site_key("a"), UTC, "host <b>", {"console": "0.1.0", "site": ""}, **more), roles


def test_a_certificate_is_good_for_those_who_have_the_role_table(keys: Path) -> None:
    document, roles = certificate(keys)
    assert check(json.loads(json.dumps(document)), roles)["valid_s"] == 1800


@pytest.mark.parametrize("where", [("result", "seconds"), ("site",), ("utc",), ("tester",), ("watch",), ("valid_s",)])
def test_one_changed_field_is_found(keys: Path, where: tuple[str, ...]) -> None:
    document, roles = certificate(keys)
    forged = copy.deepcopy(document)
    place = forged["certificate"]
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = "other"
    with pytest.raises(CertificateError):
        check(forged, roles)


def test_a_stranger_and_a_revoked_tester_are_refused(keys: Path, tmp_path: Path) -> None:
    document, _ = certificate(keys)
    make_directory(tmp_path / "other", ["a"], [("lin", "surgeon")])
    with pytest.raises(CertificateError, match="not in the role table"):
        check(document, load_roles(tmp_path / "other"))
    with pytest.raises(CertificateError, match="revoked"):
        check(document, revoke(keys, "lin"))


@pytest.mark.parametrize("odd", [None, 3, [], {}, {"certificate": {}, "signature": "zz"}, {"certificate": {"v": 2}, "signature": ""}])
def test_what_is_no_certificate_is_said_to_be_none(keys: Path, odd: Any) -> None:
    with pytest.raises(CertificateError):
        check(odd, load_roles(keys))


def test_a_short_test_is_no_certificate_and_the_page_says_so(keys: Path) -> None:
    document, _ = certificate(keys, measured(seconds=5.0))
    assert document["certificate"]["valid_s"] == 0
    assert "DEMO" in html(document) and "FIT for a case" not in html(document)


def test_a_bad_line_is_said_to_be_one_with_its_reason(keys: Path) -> None:
    page = html(certificate(keys, measured(passed=False))[0])
    assert "NOT FIT" in page and "loss 9.0%" in page


def test_the_page_escapes_what_others_wrote_and_loads_nothing(keys: Path) -> None:
    page = html(certificate(keys)[0])
    assert "host &lt;b&gt;" in page and "<b>" not in page
    assert "src=" not in page and "href=" not in page and "<script" not in page


def test_with_a_watch_the_page_tells_what_the_line_did_during_the_case(keys: Path) -> None:
    minute = {"rtt_p99_ms": 30.0, "loss": 0.01, "gap_ms": 40.0, "down_ms": 0.0}
    watch = {"colour": "GREEN", "why": "", "seconds": 120.0, "seconds_by_colour": {"GREEN": 110.0, "AMBER": 10.0, "RED": 0.0},
             "paths_fell": [1, 0], "minutes": [[minute, minute], [minute, minute]]}  # fmt: skip
    page = html(certificate(keys, watch=watch)[0])
    assert "During the case" in page and "amber 10 s" in page and "path 0: 1" in page and "<svg" in page


def test_it_prints_to_one_page_of_pdf(keys: Path, tmp_path: Path) -> None:
    if find_chromium() is None:
        pytest.skip("printing needs Chromium")
    write_pdf(html(certificate(keys)[0]), tmp_path / "c.pdf")
    raw = (tmp_path / "c.pdf").read_bytes()
    assert raw.startswith(b"%PDF") and raw.count(b"/Type /Page\n") + raw.count(b"/Type /Page ") + raw.count(b"/Type/Page/") == 1


def test_the_command_verifies_and_prints_a_certificate(keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, _ = certificate(keys)
    file, page = tmp_path / "c.json", tmp_path / "c.html"
    file.write_text(json.dumps(document))
    assert run(parser("x").parse_args(["--verify", str(file), "--keys", str(keys), "--print", str(page)])) == 0
    assert "signed by lin" in capsys.readouterr().out and "Certificate of a line" in page.read_text()
    document["certificate"]["result"]["seconds"] = 9999
    file.write_text(json.dumps(document))
    assert run(parser("x").parse_args(["--verify", str(file), "--keys", str(keys)])) == 5
    assert run(parser("x").parse_args(["--verify", str(file), "--keys", str(keys), "--print", "c.doc"])) == 2
    assert run(parser("x").parse_args(["--keys", str(keys)])) == 2
    assert line_certificate.VERSION == 1


def test_after_the_case_the_watch_is_added_and_signed_anew(keys: Path, tmp_path: Path) -> None:
    document, roles = certificate(keys)
    file, watch, final = tmp_path / "c.json", tmp_path / "w.json", tmp_path / "final.json"
    file.write_text(json.dumps(document))
    watch.write_text(json.dumps({"seconds": 60.0, "seconds_by_colour": {"GREEN": 60.0}, "paths_fell": [0], "minutes": []}))
    words = ["--verify", str(file), "--keys", str(keys), "--me", "lin", "--watch", str(watch), "--certificate", str(final)]
    assert run(parser("x").parse_args(words)) == 0
    assert check(json.loads(final.read_text()), roles)["watch"]["seconds"] == 60.0
    watch.write_text("[]")
    assert run(parser("x").parse_args(words)) == 1
