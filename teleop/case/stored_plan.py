"""A surgeon's signed plan as it arrives at the patient's site: signature, signer, images and content are checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from numpy.typing import NDArray

from teleop.planning.plan import Plan, PlanError

#: What is signed is this word and the plan's hash: a signature made for anything else cannot be used here.
SIGNED_PREFIX = b"longhand-plan-approval:"


class PlanRefused(ValueError):
    """The plan is not accepted at this site; the text says why."""


@dataclass(frozen=True)
class StoredScrew:
    """One screw to guide. Points (3,) in CT LPS millimetres."""

    id: str
    level: str
    side: str
    entry_lps_mm: NDArray[np.float64]
    tip_lps_mm: NDArray[np.float64]
    diameter_mm: float
    length_mm: float


@dataclass(frozen=True)
class StoredPlan:
    """An approved plan. digest: hex SHA-256 of its canonical content; screws by id, in the plan's order."""

    plan: Plan
    digest: str
    signer: str
    screws: dict[str, StoredScrew]

    def targets_lps_mm(self) -> NDArray[np.float64]:
        """(2N,3): entries and tips, for the predicted registration error."""
        return np.array([p for s in self.screws.values() for p in (s.entry_lps_mm, s.tip_lps_mm)])

    def levels(self) -> set[str]:
        return {s.level for s in self.screws.values()}


def sign_plan(plan: Plan, key: Ed25519PrivateKey) -> bytes:
    """Approve a plan: Ed25519 over the prefix and the plan's hash (64 B)."""
    return key.sign(SIGNED_PREFIX + plan.hash.encode())


def screws_of(plan: Plan) -> dict[str, StoredScrew]:
    """The screws of a plan that have a line and were verified (status OK)."""
    out = {}
    for t in plan.screws:
        if t.status == "OK" and t.has_line:
            entry, tip = t.line()
            out[t.id] = StoredScrew(t.id, t.level, t.side, entry, tip, t.diameter_mm, t.length_mm)
    return out


def open_signed_plan(
    data: bytes, signature: bytes, public_key: str, *, may_approve: Callable[[str], str | None], ct_sha256: str, case_id: str
) -> StoredPlan:
    """Check a plan.json with its signature. `public_key`: the signer's Ed25519 key (hex); `may_approve` names its owner
    when that key may approve plans here, else None. Raises PlanRefused."""
    signer = may_approve(public_key)
    if signer is None:
        raise PlanRefused("the plan is signed with a key that may not approve plans at this site")
    try:
        raw = json.loads(data)
        plan = Plan.from_json(raw)
    except (PlanError, ValueError) as error:
        raise PlanRefused(f"the plan cannot be read: {error}") from None
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, SIGNED_PREFIX + plan.hash.encode())
    except InvalidSignature:
        raise PlanRefused("the signature does not fit the plan: it was changed after the surgeon approved it") from None
    if plan.ct.sha256 != ct_sha256:
        raise PlanRefused(f"the plan was made on another image ({plan.ct.sha256[:12]}..., here {ct_sha256[:12]}...)")
    if plan.case != case_id:
        raise PlanRefused(f"the plan is for case {plan.case!r}, this is {case_id!r}")
    screws = screws_of(plan)
    if not screws:
        raise PlanRefused("the plan has no screw that was planned and verified")
    return StoredPlan(plan, plan.hash, signer, screws)


def plan_bytes(plan: Plan) -> bytes:
    """The plan as it travels: JSON with its hash inside."""
    content = plan.to_json() | {"plan_hash": plan.hash}
    return json.dumps(content, allow_nan=False).encode()
