"""The video room: a real Janus, started as the launch file starts it, carries a hospital's pictures to viewers."""

import asyncio
import shutil
import subprocess
import time

import numpy as np
import pytest

from teleop.launch.installed import here
from teleop.launch.plan import plan
from teleop.media.janus import PORT, JanusError, JanusRoom, write_config


def test_the_configuration_listens_on_this_machine_only_and_keeps_its_secret(tmp_path):
    folder = write_config(tmp_path / "janus")
    word = (folder / "secret").read_text()
    assert len(word) >= 32 and (folder / "secret").stat().st_mode & 0o077 == 0
    text = "".join((folder / n).read_text() for n in ("janus.jcfg", "janus.transport.http.jcfg"))
    assert 'ip = "127.0.0.1"' in text and 'ice_enforce_list = "127.0.0.1"' in text and "stun_server" not in text and word in text
    assert write_config(folder) == folder and (folder / "secret").read_text() == word, "a restart must not change the secret"


def test_a_janus_that_is_not_there_is_said_with_its_address():
    with pytest.raises(JanusError, match="127.0.0.1:9 does not answer"):
        asyncio.run(JanusRoom("http://127.0.0.1:9", "x").open())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("janus") is None, reason="no Janus here (Debian, Ubuntu: apt install janus)")
def test_a_viewer_gets_a_hospitals_pictures_out_of_the_video_room(tmp_path):
    from aiortc import RTCSessionDescription

    from teleop.console.media import LocalTrunk
    from teleop.media import rtc
    from teleop.media.encode import info_of
    from teleop.media.studio import Picture

    class Grey:
        def picture(self, stream, width, height, number):
            return Picture(np.full((height, width, 3), 90 + number % 50, dtype=np.uint8), time.monotonic_ns())

    from pathlib import Path

    launch = Path(__file__).resolve().parents[2] / "launch/janus.launch.yaml"
    process = plan([launch], {"folder": str(tmp_path / "janus")}, here()).processes[0]
    child = subprocess.Popen(process.argv, stdout=(tmp_path / "out").open("w"), stderr=subprocess.STDOUT)

    async def run() -> None:
        secret = (tmp_path / "janus" / "secret").read_text()
        end = time.monotonic() + 40
        room = None
        while room is None:
            try:
                room = await JanusRoom(f"http://127.0.0.1:{PORT}/janus", secret).open()
            except JanusError:
                assert child.poll() is None and time.monotonic() < end, (tmp_path / "out").read_text()[-2000:]
                await asyncio.sleep(0.1)
        with pytest.raises(JanusError):
            await JanusRoom(f"http://127.0.0.1:{PORT}/janus", "wrong secret").open()
        trunk = LocalTrunk(Grey())
        publisher = await room.publish(1, trunk.switch)
        seen: dict[str, set[int]] = {}
        viewers, tasks = [], []
        for _ in range(2):
            handle, offer = await room.view(1, publisher)
            viewer = rtc.peer()
            viewers.append(viewer)

            async def receive(track):
                while True:
                    info = info_of((await track.recv()).data)
                    if info is not None:
                        seen.setdefault(info.stream, set()).add(info.id)

            viewer.on("track", lambda track: tasks.append(asyncio.ensure_future(receive(track))))
            await viewer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await viewer.setLocalDescription(await viewer.createAnswer())
            await room.start(handle, viewer.localDescription.sdp)
        while len(seen) < 3 or min(len(ids) for ids in seen.values()) < 10:
            assert time.monotonic() < end + 40, f"seen so far: { {s: len(i) for s, i in seen.items()} }"
            await asyncio.sleep(0.05)
        for viewer in viewers:
            await viewer.close()
        await room.close()
        await trunk.close()

    try:
        asyncio.run(run())
    finally:
        child.terminate()
        child.wait(10)
