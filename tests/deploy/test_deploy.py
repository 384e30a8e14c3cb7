"""What is shipped for deployment, as far as it can be checked without an engine or an init: units, backup, files that must agree."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from teleop.case.site_config import FIRST_PORT, PORTS_PER_SITE, load_site_config
from teleop.link.endpoint import FIRST_RELAY_OFFSET, site_ports

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())


def run(words: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload,no-any-return]


def verify(folder: Path) -> str:
    """What systemd-analyze says of the units in a folder ("" when it has nothing against them)."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian, Ubuntu: apt install systemd)")
    names = [str(f).replace("@.", "@a.") for f in sorted(folder.iterdir())]
    for template in folder.glob("*@.*"):
        shutil.copy(template, str(template).replace("@.", "@a."))
    done = run(["systemd-analyze", "verify", "--man=no", *names], env={"SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"})
    # Only what concerns our units: a machine without a running systemd has complaints about others.
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "longhand" in line)


def units_here(folder: Path) -> Path:
    """The units with this checkout's programs in place of /opt/longhand's, so that a wrong command is found."""
    folder.mkdir()
    for unit in UNITS:
        text = unit.read_text().replace("/opt/longhand", str(ROOT))
        (folder / unit.name).write_text(text)
    return folder


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    if not (ROOT / ".venv/bin/longhand").exists():
        pytest.skip("the programs are not installed in .venv (make)")
    assert verify(units_here(tmp_path / "units")) == ""


def test_systemd_would_find_a_wrong_word_or_a_missing_program(tmp_path: Path) -> None:
    folder = units_here(tmp_path / "units")
    (folder / "longhand-console.service").write_text("[Unit]\nDescription=x\n[Service]\nKillSignals=SIGINT\nExecStart=/nowhere/longhand\n")
    said = verify(folder)
    assert "KillSignals" in said and "/nowhere/longhand" in said


def test_nothing_that_may_move_an_arm_is_restarted_by_itself() -> None:
    site = (DEPLOY / "systemd/longhand-site@.service").read_text()
    assert re.search(r"^Restart=no$", site, re.M) and "MemoryDenyWriteExecute=" not in site


def test_the_commands_of_the_units_have_the_options_they_are_given() -> None:
    """`longhand X --help` knows each --option that a unit passes."""
    known = {
        "console": (ROOT / "teleop/cli/console.py").read_text(),
        "metrics": (ROOT / "teleop/cli/metrics.py").read_text(),
    }
    for unit in UNITS:
        for command, options in re.findall(r"^ExecStart=\S+/longhand (\w+)(.*)$", unit.read_text(), re.M):
            for option in re.findall(r"--(?:no-)?([a-z-]+)", options):
                if command in known:
                    assert option.replace("-", "_") in known[command], f"{unit.name}: {command} --{option}"


def test_the_container_files_name_configurations_that_load_and_sites_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "container/compose.yaml").read_text())
    listing = json.loads((DEPLOY / "container/list.json").read_text())
    assert {s["name"] for s in listing["sites"]} <= set(compose["services"])
    for site in listing["sites"]:
        config = load_site_config(DEPLOY / "container" / f"{site['name']}.toml")
        assert config.base_port == site["base"] and config.site == site["name"]
        words = " ".join(compose["services"][site["name"]]["command"])
        assert f"domain:={config.domain}" in words and f"{site['name']}.toml" in words
    for name in ("Containerfile", "compose.yaml"):
        assert "UNTESTED" in (DEPLOY / "container" / name).read_text().splitlines()[0]


def test_the_table_of_ports_says_what_the_code_does() -> None:
    text = (ROOT / "docs/deploy.md").read_text()
    orders, stop, (stream_0, stream_1) = site_ports(FIRST_PORT)
    for port, kind in ((orders, "TCP"), (stop, "TCP"), (stream_0, "UDP"), (stream_1, "UDP")):
        assert re.search(rf"\|\s*{port}\s*\|\s*{kind}\s*\|", text), f"port {port} {kind} is not in docs/deploy.md"
    assert f"{PORTS_PER_SITE} · index" in text and f"{FIRST_PORT + FIRST_RELAY_OFFSET}" in text


# --- backup ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder with keys, a log and a certificate; the words of the backup command."""
    for program in ("openssl", "bash", "tar"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (tmp_path / "etc/a").mkdir(parents=True)
    (tmp_path / "etc/a/site.toml").write_text("site = 'a'\n")
    (tmp_path / "state/a/keys").mkdir(parents=True)
    (tmp_path / "state/a/keys/secret").write_text("the secret of site a")
    (tmp_path / "state/a/logs").mkdir()
    log = tmp_path / "state/a/logs/s.mcap"
    log.write_bytes(b"a log")
    run(["touch", "-d", "1 hour ago", str(log)])
    made = run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=backup", "-days", "2",
                "-keyout", str(tmp_path / "backup.key"), "-out", str(tmp_path / "backup.pem")])  # fmt: skip
    assert made.returncode == 0, made.stderr
    words = [str(DEPLOY / "backup.sh"), str(tmp_path / "etc"), str(tmp_path / "state"), str(tmp_path / "target"), str(tmp_path / "backup.pem")]
    return tmp_path, words


def verifier(folder: Path, code: int) -> dict[str, str]:
    """An environment whose `longhand verify` answers with this exit code."""
    program = folder / "longhand"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = verify ] || exit 9\nexit {code}\n")
    program.chmod(0o755)
    return {"LONGHAND": str(program), "PATH": "/usr/bin:/bin:/usr/sbin"}


def test_a_backup_gives_the_keys_back_to_the_private_key_alone(machine: tuple[Path, list[str]]) -> None:
    folder, words = machine
    done = run(words, env=verifier(folder, 0))
    assert done.returncode == 0, done.stderr
    (sealed,) = (folder / "target").glob("keys-*.cms")
    assert b"the secret of site a" not in sealed.read_bytes() and sealed.stat().st_mode & 0o077 == 0
    opened = run(["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", str(sealed), "-inkey", str(folder / "backup.key"),
                  "-out", str(folder / "keys.tar")])  # fmt: skip
    assert opened.returncode == 0, opened.stderr
    (folder / "back").mkdir()
    assert run(["tar", "-C", str(folder / "back"), "-xpf", str(folder / "keys.tar")]).returncode == 0
    back = folder / "back" / str(folder).lstrip("/")
    assert (back / "state/a/keys/secret").read_text() == "the secret of site a"
    assert (back / "etc/a/site.toml").exists()
    assert (folder / "target/logs/a/logs/s.mcap").read_bytes() == b"a log"


def test_a_log_that_does_not_verify_is_copied_and_reported(machine: tuple[Path, list[str]]) -> None:
    folder, words = machine
    done = run(words, env=verifier(folder, 3))
    assert done.returncode == 3 and "does not verify" in done.stderr
    assert (folder / "target/logs/a/logs/s.mcap").exists()


def test_without_a_good_certificate_nothing_is_written(machine: tuple[Path, list[str]]) -> None:
    folder, words = machine
    (folder / "backup.pem").write_text("not a certificate")
    assert run(words, env=verifier(folder, 0)).returncode == 1
    assert not list(folder.glob("target/keys-*"))
    assert run(words[:2]).returncode == 2


def test_a_log_that_is_still_written_waits_for_tomorrow(machine: tuple[Path, list[str]]) -> None:
    folder, words = machine
    (folder / "state/a/logs/s.mcap").touch()
    assert run(words, env=verifier(folder, 0)).returncode == 0
    assert not list((folder / "target").rglob("*.mcap"))
