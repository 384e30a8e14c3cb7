"""The door of a simulated operating room (`world.sock`): probe touches, breath-hold, bump, and truth for the judge.

One request, one answer, msgpack maps over SEQPACKET. Only the final judge of a test or a demo may ask for the truth.
"""

import socket
import threading
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from teleop.case.room import RoomError


class WorldClient:
    """Blocking client; reconnects when the room was restarted. Thread-safe."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def ask(self, request: str, **fields: Any) -> dict[str, Any]:
        """Send {"t": request, ...} and return the answer; raises RoomError when the room is silent or refuses."""
        with self._lock:
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    self._socket.settimeout(self._timeout_s)
                    self._socket.connect(str(self.path))
                self._socket.send(msgpack.packb({"t": request, **fields}))
                data = self._socket.recv(1 << 20)
                if not data:
                    raise ConnectionError("closed")
            except OSError as error:
                self.close()
                raise RoomError(f"the simulated room at {self.path} did not answer {request!r}: {error}") from None
        answer: dict[str, Any] = msgpack.unpackb(data, raw=False)
        if not answer.get("ok", True):
            raise RoomError(f"the simulated room refuses {request!r}: {answer.get('reason', '')}")
        return answer

    def touch(self, landmark: str) -> NDArray[np.float64]:
        """Where the tracked probe's tip is in the patient's reference frame (3,), metres, when touching a landmark."""
        return np.asarray(self.ask("touch", name=landmark)["ref_p"], dtype=np.float64)

    def breath_hold(self, on: bool) -> None:
        self.ask("breath_hold", on=on)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
