"""The directory: records and view as pure things, and a real server when there is one."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.directory.record import Presence, RecordError, seal, unseal
from teleop.directory.view import Change, View
from teleop.link.keys import Roles, SecretKeys, load_roles, load_secret, make_directory, revoke

S = 1_000_000_000
PATHS = (("192.0.2.1", 7400, 7401, 7402),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("directory") / "keys"
    make_directory(directory, ["a", "b", "c"], [("lin", "surgeon"), ("keeper", "observer")])
    return directory


@pytest.fixture(scope="module")
def who(folder: Path) -> tuple[Roles, dict[str, SecretKeys]]:
    return load_roles(folder), {n: load_secret(folder / n) for n in ("a", "b", "c", "lin", "keeper")}


def record(site: str = "a", since: int = 1, seq: int = 1, **more: Any) -> Presence:
    return Presence(site, since, seq, more.pop("ttl_s", 30.0), more.pop("paths", PATHS), **more)


def test_a_record_comes_back_as_it_was(who: tuple[Roles, dict[str, SecretKeys]]) -> None:
    roles, keys = who
    assert unseal(seal(record(), keys["a"]), roles) == record()


def test_a_site_cannot_speak_for_another_and_a_person_not_at_all(who: tuple[Roles, dict[str, SecretKeys]]) -> None:
    roles, keys = who
    with pytest.raises(RecordError, match="with the keys of"):
        seal(record("a"), keys["b"])
    forged = json.loads(seal(record("b"), keys["b"]))
    forged["body"] = forged["body"].replace('"site":"b"', '"site":"a"')
    with pytest.raises(RecordError, match="not signed by site 'a'"):
        unseal(json.dumps(forged).encode(), roles)
    with pytest.raises(RecordError, match="no site"):
        unseal(seal(record("lin"), keys["lin"]), roles)


def test_a_revoked_site_has_no_presence(tmp_path: Path) -> None:
    make_directory(tmp_path / "k", ["a"], [])
    raw = seal(record(), load_secret(tmp_path / "k/a"))
    assert unseal(raw, load_roles(tmp_path / "k"))
    with pytest.raises(RecordError, match="revoked"):
        unseal(raw, revoke(tmp_path / "k", "a"))


@given(st.binary(max_size=1200))
def test_no_bytes_make_it_raise_anything_else(raw: bytes) -> None:
    with pytest.raises(RecordError):
        unseal(raw, Roles({}, ()))


ODD = [{"seq": -1}, {"ttl_s": 0.0}, {"ttl_s": 1e9}, {"doing": "operating"}, {"paths": (("h", 0, 1, 2),)}, {"paths": PATHS * 5}, {"release": "x" * 99}]


@pytest.mark.parametrize("odd", ODD)
def test_a_field_out_of_its_range_is_refused_though_it_is_signed(who: tuple[Roles, dict[str, SecretKeys]], odd: dict[str, Any]) -> None:
    roles, keys = who
    with pytest.raises(RecordError):
        unseal(seal(record(**odd), keys["a"]), roles)


def test_a_site_joins_changes_moves_restarts_and_leaves() -> None:
    v = View()
    assert v.take(0, record(seq=1)) == [Change("joined", "a")]
    assert v.take(1, record(seq=2)) == []
    assert v.take(2, record(seq=3, doing="case")) == [Change("changed", "a")]
    assert v.take(3, record(seq=4, doing="case", paths=(("192.0.2.9", 7400, 7401, 7402),))) == [Change("moved", "a")]
    assert [c.what for c in v.take(4, record(since=2, seq=1, doing="case"))] == ["restarted", "moved"]
    assert v.take(5, record(since=2, seq=2, doing="closed")) == [Change("left", "a")] and v.here() == []


def test_silence_ends_a_presence_on_the_readers_own_clock() -> None:
    v = View()
    v.take(0, record(ttl_s=30.0))
    assert v.expire(30 * S - 1) == [] and v.expire(30 * S) == [Change("left", "a")] and v.expire(99 * S) == []
    assert v.take(100 * S, record(seq=2)) == [Change("joined", "a")]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 20)), max_size=30))
def test_old_records_never_bring_anything_back(orders: list[tuple[int, int]]) -> None:
    v, newest = View(), (0, 0)
    for k, (since, seq) in enumerate(orders):
        changes = v.take(k, record(since=since, seq=seq))
        if (since, seq) <= newest:
            assert changes == []
        newest = max(newest, (since, seq))
        assert v.sites["a"].record.order == newest


def test_a_replay_after_a_goodbye_does_not_raise_the_dead() -> None:
    v = View()
    v.take(0, record(seq=1))
    v.take(1, record(seq=2, doing="closed"))
    assert v.take(2, record(seq=1)) == [] and v.here() == [] and v.replays == 1


# --- on the engine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Any:
    pytest.importorskip("nats", reason="nats-py is not installed (pip install 'longhand[fleet]')")
    if shutil.which("nats-server") is None and not Path("/usr/sbin/nats-server").exists():
        pytest.skip("nats-server is not installed (Debian, Ubuntu: apt install nats-server)")
    from sim.directory.server import Server

    server = Server(tmp_path, load_roles(folder), "keeper")
    server.start()
    yield server
    server.stop()


def test_an_nkey_is_what_nats_itself_would_write() -> None:
    """Public key of the all-zero seed: prefix U, 56 characters, its checksum as nkeys computes it."""
    pytest.importorskip("nats")
    from sim.directory.server import nkey

    assert nkey("00" * 32).startswith("UAAAAAAA") and len(nkey("ab" * 32)) == 56 and nkey("ab" * 32)[0] == "U"


def test_on_a_real_server_sites_are_found_lost_and_found_again(server: Any, who: tuple[Roles, dict[str, SecretKeys]]) -> None:
    from sim.directory.swarm import SimSite, Watcher, make_bucket, until

    roles, keys = who

    async def story() -> None:
        await make_bucket(server.url, keys["keeper"], 3.0)
        sites = [SimSite(keys[n], server.url, 0.5, 2.0) for n in ("a", "b")]
        watcher = Watcher(keys["lin"], server.url, roles)
        await watcher.start()
        for s in sites:
            await s.start()
        await until(lambda: len(watcher.view.here()) == 2, 20)
        await sites[0].vanish()
        await until(lambda: [p.site for p in watcher.view.here()] == ["b"], 20)
        await sites[0].start()
        await until(lambda: len(watcher.view.here()) == 2, 20)
        await asyncio.to_thread(server.kill)
        await until(lambda: not watcher.view.here(), 20)
        await asyncio.to_thread(server.start)
        await until(lambda: len(watcher.view.here()) == 2, 40)
        for s in sites:
            await s.vanish()
        await watcher.close()
        assert [c.what for _, c in watcher.log if c.site == "a"] == ["joined", "left", "joined", "left", "joined"]
        assert watcher.refused == 0

    asyncio.run(story())


def test_the_server_lets_a_site_write_its_own_record_and_nothing_else(server: Any, who: tuple[Roles, dict[str, SecretKeys]]) -> None:
    import nats.errors

    from sim.directory.server import SUBJECT, KeyedClient
    from sim.directory.swarm import SimSite, make_bucket, quiet

    _, keys = who

    async def story() -> None:
        await make_bucket(server.url, keys["keeper"], 3.0)
        a = SimSite(keys["a"], server.url, 60.0, 2.0)
        await a.start()
        await a.say()
        assert a.put_ms and not a.failed
        client = await KeyedClient(keys["a"]).open(server.url, error_cb=quiet)
        for subject in (f"{SUBJECT}.b", "$JS.API.STREAM.DELETE.KV_presence"):
            with pytest.raises(nats.errors.Error):
                await client.request(subject, b"x", timeout=0.5)
        await client.close()
        await a.vanish()

    asyncio.run(story())


def test_a_stranger_gets_no_connection_and_a_revoked_site_loses_its_own(server: Any, folder: Path, tmp_path: Path) -> None:
    import nats.errors

    from sim.directory.server import KeyedClient
    from sim.directory.swarm import SimSite, make_bucket, quiet, until
    from teleop.link.keys import new_secret

    roles = load_roles(folder)
    keys = {n: load_secret(folder / n) for n in ("c", "keeper")}

    async def story() -> None:
        await make_bucket(server.url, keys["keeper"], 3.0)
        with pytest.raises(nats.errors.Error):
            await KeyedClient(new_secret("a")).open(server.url, error_cb=quiet, allow_reconnect=False, connect_timeout=5)
        c = SimSite(keys["c"], server.url, 0.2, 2.0)
        await c.start()
        await until(lambda: len(c.put_ms) > 1, 20)
        revoked = Roles(roles.principals, roles.grants, roles.revoked | {roles.principals["c"].curve})
        server.reload(revoked)
        await until(lambda: c.client is not None and not c.client.is_connected, 20)
        before = len(c.put_ms)
        await asyncio.sleep(1.0)
        assert len(c.put_ms) == before, "it does not come back"
        await c.vanish()

    asyncio.run(story())
