"""Recorded pictures against the kinematics and against the session log; who hears whom."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teleop.media import stamp
from teleop.media.adapt import LADDER
from teleop.media.encode import Encoder
from teleop.media.frames import FrameInfo
from teleop.media.store import Reader, StoreError, Writer
from teleop.media.voices import BLOCK, Line, audible, mix

FPS = 15
PERIOD = 1_000_000_000 // FPS
T0 = 50_000_000_000


def joint_at(t_ns: int) -> float:
    """The kinematics of this test: one joint, known at any time."""
    return 0.5 + 0.4 * np.sin((t_ns - T0) / 1e9 * 2.0)


def picture_of(angle: float, n: int, w: int = 320, h: int = 256) -> np.ndarray:
    """A picture that shows the joint: a bright bar whose column is the angle."""
    picture = np.full((h, w, 3), 40, dtype=np.uint8)
    x = int(angle * (w - 20))
    picture[40:200, x : x + 12] = 230
    picture[:30] = np.random.default_rng(n).integers(0, 60, (30, w, 1))
    return picture


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Four seconds of two streams with changes of size on the way; (folder, rows as the session log has them)."""
    folder = tmp_path_factory.mktemp("video")
    writer, logged = Writer(folder, free_min=0), []
    for stream, offset in (("guide", 0), ("room", 21_000_000)):
        encoder = Encoder(stream)
        for n in range(4 * FPS):
            t = T0 + n * PERIOD + offset + (n * 7919) % 9_000_000  # cameras are not exactly periodic
            rung, size = (LADDER[4], (320, 256)) if n < 30 or n > 44 else (LADDER[3], (240, 192))
            coded = encoder.encode(picture_of(joint_at(t), n, *size), FrameInfo(stream, n + 1, t), rung)
            assert writer.put(coded)
            logged.append((stream, n + 1, coded.sha256))
    writer.close()
    return folder, logged


def test_replay_in_step_with_the_kinematics_is_never_off_by_more_than_one_frame(recorded):
    """At any cursor time the picture shown is the newest one then, told by the stamp inside it and by the joint it shows."""
    reader = Reader(recorded[0])
    rng = np.random.default_rng(4)
    cursors = np.concatenate([np.arange(T0 + PERIOD, T0 + 4_000_000_000, 33_000_000), rng.integers(T0 + PERIOD, T0 + 3_990_000_000, 60)])
    times = sorted(e.captured for e in reader.streams["guide"])
    worst = 0.0
    for t in cursors.tolist():
        found = reader.picture("guide", t)
        assert found is not None
        entry, pixels = found
        read = stamp.read(pixels)
        assert read is not None and read.id == entry.id, "the picture shown is another than the index says"
        captured = stamp.unwrap_ms(read.ms, t)
        newest = max(c for c in times if c <= t)
        assert captured == newest // 1_000_000 * 1_000_000, "not the newest picture of that time"
        worst = max(worst, (t - newest) / PERIOD)
        bar = pixels[100, :, 0].astype(float)
        shown = (np.average(np.arange(len(bar)), weights=np.clip(bar - 120, 0, None)) - 5.5) / (len(bar) - 20)
        # and the kinematics at the cursor differ from what is shown by no more than the joint moves in a frame (and a bit)
        assert abs(shown - joint_at(t)) < 0.8 * (PERIOD + 10_000_000) / 1e9 + 0.02
    assert worst <= 1.0 + 9_000_000 / PERIOD


def test_stored_pictures_agree_with_the_session_log_and_an_exchanged_one_shows(recorded, tmp_path):
    folder, logged = recorded
    assert Reader(folder).check(logged) == []
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("guide.h264", "room.h264", "index.jsonl"):
        (copy / name).write_bytes((folder / name).read_bytes())
    raw = bytearray((copy / "guide.h264").read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / "guide.h264").write_bytes(raw)
    problems = Reader(copy).check(logged)
    assert len(problems) == 1 and "not the one that was recorded" in problems[0]
    assert "are not here" in Reader(folder).check([*logged, ("guide", 999, b"x")])[0]
    assert "not in the session log" in Reader(folder).check(logged[1:])[0]


def test_a_recording_that_was_cut_is_read_up_to_the_cut(recorded, tmp_path):
    folder, _ = recorded
    for name in ("guide.h264", "room.h264"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = (folder / "index.jsonl").read_text()
    (tmp_path / "index.jsonl").write_text(text[: len(text) // 2])
    assert len(Reader(tmp_path).streams["guide"]) > 10
    (tmp_path / "index.jsonl").write_text("nonsense\n" + text)
    with pytest.raises(StoreError, match="line 1"):
        Reader(tmp_path)
    with pytest.raises(StoreError, match="no recorded pictures"):
        Reader(tmp_path / "nowhere")


def test_a_full_disk_stops_the_recording_and_nothing_else(tmp_path):
    writer = Writer(tmp_path, free_min=1 << 62)
    encoder = Encoder("room")
    assert not writer.put(encoder.encode(picture_of(0.5, 1), FrameInfo("room", 1, T0), LADDER[4])) and writer.full


# -- voices -----------------------------------------------------------------------------------------------------------
names = st.sampled_from(["li", "chen", "sato", "student"])


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(names, st.builds(Line, st.booleans(), st.frozensets(names)), max_size=4), names)
def test_a_voice_is_in_the_sum_exactly_where_it_is_meant_to_be(lines, listener):
    blocks = {name: np.full(BLOCK, 10**k, dtype=np.int16) for k, name in enumerate(["li", "chen", "sato", "student"])}
    heard = int(mix(blocks, listener, lines)[0])
    for k, name in enumerate(["li", "chen", "sato", "student"]):
        line = lines.get(name, Line())
        meant = name != listener and not line.muted and (not line.to or listener in line.to)
        assert (heard // 10**k % 10 == 1) == meant == audible(name, listener, lines)


def test_many_loud_voices_are_limited_not_wrapped():
    blocks = {str(k): np.full(BLOCK, 30_000, dtype=np.int16) for k in range(4)}
    lines = {str(k): Line(False) for k in range(4)}
    assert mix(blocks, "x", lines).max() == 32767


def test_a_microphone_is_shut_until_its_owner_opens_it():
    assert not audible("li", "chen", {})


# -- the seat -----------------------------------------------------------------------------------------------------------
def test_places_for_live_pictures_are_given_by_need_and_never_more_than_there_are():
    from teleop.console.media import seat

    assert seat({}, 0, 2) == (True, "")
    house = {"a": (0, 1), "b": (0, 2), "c": (2, 3)}
    assert seat(house, 0, 3) == (False, "") and seat(house, 3, 3) == (True, "b") and seat(house, 2, 3) == (True, "b")
    assert seat({"s": (3, 1)}, 3, 1) == (False, "")


# -- the two ends over loopback -------------------------------------------------------------------------------------------
class Bars:
    """A source whose picture shows its own number."""

    def __init__(self) -> None:
        self.frozen = False

    def picture(self, stream, width, height, number):
        import time

        from teleop.media.studio import Picture

        if self.frozen:
            raise RuntimeError("out")
        return Picture(picture_of((number % 30) / 30, number, width, height), time.monotonic_ns())


async def until(what, condition, seconds=40.0):
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)


@pytest.mark.slow
def test_pictures_cross_between_the_two_ends_and_each_is_the_one_that_was_logged(tmp_path):
    import time

    from teleop.console.media import RemoteTrunk
    from teleop.media.rtc import Feed
    from teleop.media.site_end import SiteEnd
    from teleop.site.media_door import MediaDoor

    async def run():
        stop = asyncio.Event()
        source = Bars()
        end = SiteEnd(source, tmp_path / "media.sock", tmp_path / "video")
        end.writer._free_min = 0
        task = asyncio.create_task(end.run(stop))
        door, replies = MediaDoor(tmp_path / "media.sock"), {}
        logged: list = []

        async def gateway():
            while True:
                now = time.monotonic_ns()
                door.control(lambda: [{"alive": True, "loss": 0.0, "queue_ms": 1.0}], {"holder": "k", "loop_age_ns": 60_000_000, "state": "ACTIVE"}, now)
                for key, number, reply in door.poll(now):
                    replies[key, number] = reply
                logged.extend(door.frames)
                door.frames.clear()
                await asyncio.sleep(0.005)

        async def offer(sdp):
            refusal = door.offer("console", len(replies) + 1, {"offer": sdp}, time.monotonic_ns())
            if refusal is not None:
                return refusal
            number = len(replies) + 1
            await until("an answer", lambda: ("console", number) in replies)
            return replies["console", number]

        pump = asyncio.create_task(gateway())
        trunk = RemoteTrunk("site", offer)
        got: list = []
        trunk.switch.taps.append(lambda coded: got.append((coded.info.stream, coded.info.id, coded.sha256, coded.key)))
        feed = Feed(lambda: None)
        try:
            trunk.switch.join("guide", feed)
            await until("thirty pictures", lambda: len(got) >= 30)
            assert {g[0] for g in got} == {"guide"}, "a stream that nobody wants was sent"
            assert got[0][3], "the first picture does not stand by itself"
            ids = [g[1] for g in got]
            assert ids == sorted(ids)
            await until("the log's rows", lambda: len([r for r in logged if r[0] == "guide"]) >= 30)
            hashes = {(r[0], r[1]): r[3] for r in logged}
            assert all(hashes[s, n] == digest for s, n, digest, _ in got if (s, n) in hashes)
            assert sum((s, n) in hashes for s, n, *_ in got) >= 20
            assert door.video and door.video[0] in (0, 1) and len(door.video) % 3 == 0
            assert trunk.switch.state("guide") == ""
            source.frozen = True
            await until("the frozen camera is seen", lambda: trunk.switch.state("guide") == "silent")
            source.frozen = False
            before = len(got)
            await until("it recovers", lambda: len(got) > before and trunk.switch.state("guide") == "")
            # control suffers: the picture goes down and, if that goes on, out
            door.control = lambda *a: None
            end._control, end._control_at = {"queue_ms": 200.0}, time.monotonic() + 60
            await until("the picture gives way", lambda: LADDER[end.level.rung].name == "off" and end.level.why == "control comes first")
        finally:
            pump.cancel()
            await trunk.close()
            stop.set()
            await task
            door.close()
        missing = [m for m in Reader(tmp_path / "video").check([(r[0], r[1], r[3]) for r in logged]) if "another picture" in m or "recorded" in m]
        assert not missing

    asyncio.run(run())


def test_an_offer_to_cameras_that_do_not_run_is_refused_with_words(tmp_path):
    from teleop.site.media_door import OFFER_NS, MediaDoor

    door = MediaDoor(tmp_path / "media.sock")
    assert door.offer("k", 1, {"offer": "v=0"}, 10**9) == {"ok": False, "reason": "this hospital's cameras are not running"}
    assert "SDP" in door.offer("k", 1, {"offer": 7}, 10**9)["reason"]
    from teleop.site.packet_server import PacketServer

    server = PacketServer(tmp_path / "media.sock")
    assert door.offer("k", 2, {"offer": "v=0"}, 3 * 10**9) is None
    assert door.poll(4 * 10**9) == []
    assert door.poll(4 * 10**9 + OFFER_NS) == [("k", 2, {"ok": False, "reason": "this hospital's cameras do not answer"})]
    server.close()


def test_media_sockets_are_marked_as_video():
    import socket

    from teleop.link.planes import Plane
    from teleop.media import rtc

    async def run():
        connection = rtc.peer()
        connection.addTransceiver("video", direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        try:
            assert rtc.mark(connection) >= 1
            ice = connection.getTransceivers()[0].sender.transport.transport.iceGatherer._connection
            sock = ice._protocols[0].transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == Plane.VIDEO.tos
            assert not any(w in connection.localDescription.sdp for w in ("srflx", "relay")), "somebody outside was asked"
        finally:
            await connection.close()

    asyncio.run(run())
