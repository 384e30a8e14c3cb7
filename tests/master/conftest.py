"""State frames of a robot as tests need them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from safety.states import State
from teleop.geometry import Pose

# no test of ours asserts time: a busy machine must not fail one
settings.register_profile("longhand", deadline=None)
settings.load_profile("longhand")


def state_frame(
    t: int = 1,
    state: State | str = State.ACTIVE,
    rebase: int = 1,
    epoch: int = 1,
    pose: Pose = (0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0),
    session: bytes = b"s" * 16,
    **more: Any,
) -> dict[str, Any]:
    """A state frame with plausible fields; `more` overrides fields of `gov` or `arm` by name."""
    gov = {
        "session": session, "site": "a", "arm": "arm1",
        "state": str(state), "reason": "", "holder": "me", "epoch": epoch,
        "rebase": rebase, "last_seq": 0, "v_cap": 0.010, "w_cap": 0.1,
    }  # fmt: skip
    arm = {"pose": list(pose), "setpoint": list(pose), "speed": 0.0, "s": 0.0, "path_hash": b"", "drive": "standstill"}
    for k, v in more.items():
        (arm if k in arm else gov)[k] = v
    return {"t": t, "gov": gov, "arm": arm}


@pytest.fixture(scope="session", name="state_frame")
def _state_frame() -> Callable[..., dict[str, Any]]:
    return state_frame
