import json

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from teleop.case.stored_plan import PlanRefused, open_signed_plan, plan_bytes, sign_plan
from teleop.planning.plan import ImageRef, Plan, trajectory

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
SCREW = trajectory("L3_left", "pedicle_screw", (10, -20, 30), (0, 1, 0), 45.0, 6.0, level="L3", side="left", status="OK")
PLAN = Plan(ct=ImageRef("aa" * 32), trajectories=(SCREW,), case="SIM-1")


def surgeon(key):
    return "beijing" if key == PUBLIC else None


def receive(plan=PLAN, signature=None, data=None, may=surgeon, ct="aa" * 32, case="SIM-1"):
    return open_signed_plan(
        plan_bytes(plan) if data is None else data, signature or sign_plan(plan, KEY), PUBLIC, may_approve=may,
        ct_sha256=ct, case_id=case,
    )


def test_a_signed_plan_arrives_with_its_screws_its_signer_and_its_hash():
    stored = receive()
    assert list(stored.screws) == ["L3_left"]
    assert stored.signer == "beijing"
    assert stored.digest == PLAN.hash
    assert np.allclose(stored.targets_lps_mm(), [(10, -20, 30), (10, 25, 30)])


def test_a_plan_signed_by_somebody_who_may_not_is_refused():
    with pytest.raises(PlanRefused, match="may not approve"):
        receive(may=lambda key: None)


def test_a_plan_changed_after_approval_is_refused():
    moved = Plan(ct=PLAN.ct, case="SIM-1", trajectories=(
        trajectory("L3_left", "pedicle_screw", (11, -20, 30), (0, 1, 0), 45.0, 6.0, level="L3", side="left", status="OK"),
    ))
    with pytest.raises(PlanRefused, match="changed after"):
        receive(plan=moved, signature=sign_plan(PLAN, KEY))


def test_a_plan_for_another_image_or_another_case_is_refused():
    with pytest.raises(PlanRefused, match="another image"):
        receive(ct="bb" * 32)
    with pytest.raises(PlanRefused, match="'SIM-1', this is 'SIM-2'"):
        receive(case="SIM-2")


def test_a_plan_without_a_verified_screw_is_refused():
    draft = Plan(ct=PLAN.ct, case="SIM-1", trajectories=(
        trajectory("L3_left", "pedicle_screw", (10, -20, 30), (0, 1, 0), 45.0, 6.0, level="L3", side="left"),
    ))
    with pytest.raises(PlanRefused, match="no screw"):
        receive(plan=draft)


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", json.dumps({"schema": "longhand-plan/9"}).encode()])
def test_bytes_that_are_no_plan_are_refused_and_nothing_else_happens(data):
    with pytest.raises(PlanRefused, match="cannot be read"):
        receive(data=data)
