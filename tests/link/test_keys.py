"""Keys that must not be used are refused, in words."""

import os
import shutil
import stat
from pathlib import Path

import pytest
import zmq

from safety.roles import read_roles
from teleop.cli.keys import app
from teleop.link.curve import require_libzmq
from teleop.link.errors import KeyRefused, VersionTooOld
from teleop.link.keys import load_roles, load_secret, make_directory, new_secret, revoke, write_secret


@pytest.fixture
def fresh(tmp_path: Path, keys_dir: Path) -> Path:
    """A copy of the keys that a test may spoil."""
    target = tmp_path / "k"
    shutil.copytree(keys_dir, target)
    return target


def test_secrets_are_private_and_public_files_hold_no_secret(fresh: Path) -> None:
    assert stat.S_IMODE((fresh / "lin").stat().st_mode) == 0o700
    assert stat.S_IMODE((fresh / "lin/secret.toml").stat().st_mode) == 0o600
    keys = load_secret(fresh / "lin")
    public = (fresh / "roles.toml").read_text()
    assert keys.curve_public in public and keys.ed25519_public in public
    assert keys.curve_secret not in public and keys.ed25519_secret not in public
    assert keys.curve_secret not in repr(keys) and keys.ed25519_secret not in repr(keys)


def test_both_key_pairs_work(fresh: Path) -> None:
    keys, roles = load_secret(fresh / "lin"), load_roles(fresh)
    roles.principals["lin"].verifier().verify(keys.signer().sign(b"plan"), b"plan")
    assert zmq.curve_public(keys.curve_secret.encode()).decode() == roles.principals["lin"].curve


def test_no_key_is_refused(fresh: Path) -> None:
    with pytest.raises(KeyRefused, match="longhand keys make"):
        load_secret(fresh / "nobody")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_that_others_can_read_is_refused(fresh: Path, mode: int) -> None:
    os.chmod(fresh / "lin/secret.toml", mode)
    with pytest.raises(KeyRefused, match="chmod 600"):
        load_secret(fresh / "lin")


def test_a_secret_in_an_open_directory_is_refused(fresh: Path) -> None:
    os.chmod(fresh / "lin", 0o755)
    with pytest.raises(KeyRefused, match="chmod 700"):
        load_secret(fresh / "lin")


def test_a_secret_behind_a_link_is_refused(fresh: Path) -> None:
    (fresh / "lin/secret.toml").rename(fresh / "elsewhere.toml")
    (fresh / "lin/secret.toml").symlink_to(fresh / "elsewhere.toml")
    with pytest.raises(KeyRefused, match="cannot read"):
        load_secret(fresh / "lin")


def test_another_users_secret_is_refused(fresh: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(fresh / "lin/secret.toml", 12345, -1)
    with pytest.raises(KeyRefused, match="belongs to user 12345"):
        load_secret(fresh / "lin")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("curve_secret", "ed25519_secret", "64 hex digits, an Ed25519 key"),
        ("ed25519_secret", "curve_secret", "looks like a CURVE key"),
    ],
)
def test_a_key_of_the_wrong_kind_is_named(fresh: Path, old: str, new: str, says: str) -> None:
    keys = load_secret(fresh / "lin")
    text = (fresh / "lin/secret.toml").read_text()
    text = text.replace(getattr(keys, old), getattr(keys, new))
    (fresh / "lin/secret.toml").write_text(text)
    with pytest.raises(KeyRefused, match=says):
        load_secret(fresh / "lin")


def test_halves_of_two_pairs_are_refused(fresh: Path) -> None:
    keys, other = load_secret(fresh / "lin"), load_secret(fresh / "mei")
    for half, says in (("curve_public", "swapped"), ("ed25519_public", "does not belong")):
        text = (fresh / "lin/secret.toml").read_text()
        (fresh / "lin/secret.toml").write_text(text.replace(getattr(keys, half), getattr(other, half)))
        with pytest.raises(KeyRefused, match=says):
            load_secret(fresh / "lin")
        (fresh / "lin/secret.toml").write_text(text)


@pytest.mark.parametrize("junk", ["", "not toml [", 'name = "x"', '\x00\xff', 'version = 1\nname = "lin"\ncurve_public = 5'])
def test_a_file_that_is_no_secret_is_refused(fresh: Path, junk: str) -> None:
    (fresh / "lin/secret.toml").write_text(junk, encoding="latin-1")
    with pytest.raises(KeyRefused):
        load_secret(fresh / "lin")


def test_a_role_table_that_others_can_change_is_refused(fresh: Path) -> None:
    os.chmod(fresh / "roles.toml", 0o664)
    with pytest.raises(KeyRefused, match="others can change it"):
        load_roles(fresh)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('role = "surgeon"', 'role = "emperor"', "roles are"),
        ('who = "lin"', 'who = "ghost"', "no principal"),
        ('site = "a"', 'site = "lin"', "no site"),
        ("version = 1", "version = 2", "version 2"),
        ('kind = "site"', 'kind = "robot"', "kind must be"),
    ],
)
def test_a_broken_role_table_is_refused_by_entry(fresh: Path, old: str, new: str, says: str) -> None:
    text = (fresh / "roles.toml").read_text()
    assert old in text
    (fresh / "roles.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(KeyRefused, match=says):
        load_roles(fresh)


def test_two_principals_with_one_key_are_refused(fresh: Path) -> None:
    roles = load_roles(fresh)
    text = (fresh / "roles.toml").read_text()
    (fresh / "roles.toml").write_text(text.replace(roles.principals["mei"].curve, roles.principals["lin"].curve))
    with pytest.raises(KeyRefused, match="same CURVE key"):
        load_roles(fresh)


def test_roles_are_per_site_and_arm_and_end_with_revocation(tmp_path: Path) -> None:
    make_directory(tmp_path / "k", ["a", "b"], [("lin", "surgeon")], arm="arm2")
    roles = load_roles(tmp_path / "k")
    key = roles.principals["lin"].curve
    assert roles.role_of(key, "a", "arm2") == "surgeon" and roles.role_of(key, "a", "arm1") is None
    assert roles.role_of("x" * 40, "a", "arm2") is None
    gone = revoke(tmp_path / "k", "lin")
    assert gone.role_of(key, "a", "arm2") is None and key not in gone.allowed_at("a")


def test_the_governor_reads_the_same_table(fresh: Path) -> None:
    roles = load_roles(fresh)
    key = {n: p.curve for n, p in roles.principals.items()}
    table = read_roles(fresh / "roles.toml", "a", "arm1")
    assert table.has(key["lin"], "surgeon") and table.has(key["zhao"], "observer") and not table.has(key["zhao"], "surgeon")
    assert not table.has(key["a"], "surgeon")
    revoke(fresh, "lin")
    assert not read_roles(fresh / "roles.toml", "a", "arm1").has(key["lin"], "surgeon")


def test_making_keys_twice_adds_and_never_overwrites(tmp_path: Path) -> None:
    make_directory(tmp_path, ["a"], [("lin", "surgeon")])
    before = load_secret(tmp_path / "lin")
    roles = make_directory(tmp_path, ["b"], [])
    assert load_secret(tmp_path / "lin") == before
    assert roles.role_of(before.curve_public, "b", "arm1") == "surgeon", "a new site knows the old surgeon"
    with pytest.raises(KeyRefused, match="named twice, or already"):
        make_directory(tmp_path, ["a"], [])
    with pytest.raises(KeyRefused, match="never overwritten"):
        write_secret(tmp_path, new_secret("lin"))


@pytest.mark.parametrize("name", ["", "../x", "Lin", "a b", "x" * 40, "1a"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyRefused):
        make_directory(tmp_path, [name], [])
    assert [p.name for p in tmp_path.iterdir()] == []


def test_an_old_libzmq_is_refused() -> None:
    require_libzmq()
    with pytest.raises(VersionTooOld, match=r"4\.3\.4 has known holes"):
        require_libzmq((4, 3, 4), True)
    with pytest.raises(VersionTooOld, match="without CURVE"):
        require_libzmq((4, 3, 5), False)


def test_the_command_line_makes_shows_checks_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            app([*args])
        out = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out.out, out.err

    d = str(tmp_path / "k")
    assert run("make", d, "--site", "a", "--console", "lin")[0] == 0
    assert "lin" in run("show", d)[1]
    assert run("check", d + "/lin")[0] == 0
    os.chmod(d + "/lin/secret.toml", 0o644)
    code, _, err = run("check", d + "/lin")
    assert code == 1 and "chmod 600" in err
    assert run("revoke", d, "lin")[0] == 0 and "REVOKED" in run("show", d)[1]
    assert run("revoke", d, "ghost")[0] == 1
    assert run("make", d)[0] == 2
