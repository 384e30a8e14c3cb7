"""Logs with the real governor's decisions in them, driven in virtual time by the campaign's rig."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safety.inputs import KIND_OF, encode_input, encode_outputs
from safety.log import SessionInfo, SessionLog
from safety.log.steps import EVENT_TOPIC, EVENT_TYPE, ORDER_TOPIC, RARE
from safety.snapshot import encode_situation
from sim.campaign.rig import Rig
from tests.log.logs import SESSION, SITE_KEY

MS = 1_000_000


class Recorded:
    """A rig whose every step goes into a log, as the recorder would write it."""

    def __init__(
        self, path: Path, *, site: str = "a", key: Ed25519PrivateKey = SITE_KEY, boot: bool = True, **params: object
    ) -> None:
        self.rig = Rig(**{"require_rehearsal": False, **params})
        self.log = SessionLog(
            path, key, SessionInfo(session=SESSION, site=site), mono=self.rig.now, utc=1_790_000_000_000_000_000
        )
        self.rig.do = self._do
        if boot:
            self.write(0, "boot", encode_input(self.rig.boot_input), b"\x90")

    def write(self, n: int, kind: str, data: bytes, outputs: bytes) -> None:
        fields = {"schema_version": 1, "n": n, "stamp_mono": self.rig.now, "kind": kind,
                  "state": str(self.rig.s.state), "input": data, "outputs": outputs}  # fmt: skip
        self.log.write(ORDER_TOPIC if kind in RARE else EVENT_TOPIC, EVENT_TYPE, fields, self.rig.now)
        self.log.tick(self.rig.now)

    def snapshot(self) -> None:
        self.write(self.rig.s.n, "snapshot", encode_situation(self.rig.s), b"\x90")

    def _do(self, i):
        self.rig.s, out = self.rig.step(self.rig.s, i, self.rig.params)
        self.write(self.rig.s.n, KIND_OF[type(i)], encode_input(i), encode_outputs(out))
        return out

    def move(self, seconds: float, press: int = 1) -> None:
        """The deadman held, a still target, 100 Hz."""
        for _ in range(int(seconds * 100)):
            self.rig.pass_time(10 * MS)
            self.rig.send(press=press)

    def close(self) -> Path:
        self.log.close(self.rig.now, "test over")
        return self.log.path


def drive_and_cut(path: Path, **params: object) -> Path:
    """Active, a second of motion, the line silent for 0.7 s (HOLD)."""
    r = Recorded(path, **params)
    r.rig.active()
    r.move(1.0)
    r.rig.pass_time(700 * MS)
    return r.close()
