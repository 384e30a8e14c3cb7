"""crtk_msgs is wire-compatible with the community's package: same names, same fields, same RIHS01 type hashes."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

SHARE = Path(sys.prefix) / "share" / "crtk_msgs"

#: Names, types and order of the fields of collaborative-robotics/crtk_msgs 1.3.0 (commit 14b04fc), written down from its
#: .msg and .srv files: what the hash depends on.
P = "geometry_msgs/"
COMMUNITY = {
    "msg/OperatingState": "header std_msgs/Header, state string, is_homed boolean, is_busy boolean",
    "msg/StringStamped": "header std_msgs/Header, string string",
    "msg/CartesianImpedanceHalfPlaneGains": f"p {P}Vector3, d {P}Vector3, bias {P}Vector3, deadband {P}Vector3",
    "msg/CartesianImpedance": (
        f"header std_msgs/Header, force_orientation {P}Quaternion, force_position {P}Vector3, "
        f"torque_orientation {P}Quaternion, position_positive crtk_msgs/CartesianImpedanceHalfPlaneGains, "
        "position_negative crtk_msgs/CartesianImpedanceHalfPlaneGains, "
        "orientation_positive crtk_msgs/CartesianImpedanceHalfPlaneGains, "
        "orientation_negative crtk_msgs/CartesianImpedanceHalfPlaneGains"),
    "msg/CartesianState": (
        f"header std_msgs/Header, pose {P}Pose, pose_is_valid std_msgs/Bool, twist {P}Twist, twist_is_valid std_msgs/Bool, "
        f"wrench {P}Wrench, wrench_is_valid std_msgs/Bool"),
    "msg/SetpointMode": "value uint8",
    "msg/CartesianServo": (
        f"header std_msgs/Header, task_frame {P}Transform, pose {P}Pose, twist {P}Twist, wrench {P}Wrench, "
        "axis_mode crtk_msgs/SetpointMode[6]"),
    "msg/JointServo": (
        "header std_msgs/Header, name sequence<string>, position sequence<double>, velocity sequence<double>, "
        "effort sequence<double>, mode sequence<crtk_msgs/SetpointMode>"),
}
SERVICES = {
    "srv/TriggerOperatingState": ("", "operating_state crtk_msgs/OperatingState"),
    "srv/QueryForwardKinematics": (f"jp sequence<double>, cp {P}Pose", f"cp {P}Pose, result boolean, message string"),
    "srv/QueryInverseKinematics": (f"cp {P}Pose, jp sequence<double>", "jp sequence<double>, result boolean, message string"),
}
MODES = {"POSITION": 1, "VELOCITY": 2, "EFFORT": 4, "NONE": 0, "P": 1, "V": 2, "PV": 3, "F": 4, "PF": 5, "VF": 6, "PVF": 7}

if not SHARE.is_dir():
    pytest.skip("crtk_msgs is not built; run make", allow_module_level=True)


def fields_of(cls):
    return ", ".join(f"{name} {kind}" for name, kind in cls.get_fields_and_field_types().items())


@pytest.mark.parametrize("name", sorted(COMMUNITY))
def test_each_message_has_the_communitys_fields_in_their_order(name):
    import crtk_msgs.msg

    assert fields_of(getattr(crtk_msgs.msg, name.removeprefix("msg/"))) == COMMUNITY[name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_has_the_communitys_fields_in_their_order(name):
    import crtk_msgs.srv

    service = getattr(crtk_msgs.srv, name.removeprefix("srv/"))
    asked, answered = SERVICES[name]
    got = fields_of(service.Request)
    assert got == asked or (asked == "" and got in ("", "structure_needs_at_least_one_member uint8"))
    assert fields_of(service.Response) == answered


def test_the_words_of_a_setpoint_mode_have_the_communitys_numbers():
    from crtk_msgs.msg import SetpointMode

    assert {name: getattr(SetpointMode, name) for name in MODES} == MODES


def test_nothing_is_there_that_the_community_has_not():
    import crtk_msgs.msg
    import crtk_msgs.srv

    here = {f"msg/{n}" for n in dir(crtk_msgs.msg) if n[0].isupper()}
    assert here == set(COMMUNITY)


#: RIHS01 hashes of the community's own files, computed by rosidl from them (not from ours).
HASHES = {
    "msg/CartesianImpedance": "RIHS01_9b4e8adf1c59d8045d9bab6c639f8851ec89024ff8bc744fb5b3965143dde7d0",
    "msg/CartesianImpedanceHalfPlaneGains": "RIHS01_ab886080cad5164b93d0fb8de83181067f78df6fe72e7d5e0bf15028c7984560",
    "msg/CartesianServo": "RIHS01_0acfd530851bb1e631c6f590b6c51d151e2d1af0b34ee0665ac4322f054c7427",
    "msg/CartesianState": "RIHS01_edd33cdbe17e19f486ed3cba80b3c894627ea819a8f2b6ad9bdb8db55eac58e6",
    "msg/JointServo": "RIHS01_a09603ce45ff956c65ff7faf7b8cc9009ba4bc11e0741f9e5f03716747a0b1fe",
    "msg/OperatingState": "RIHS01_5cc57eea589b217fe5194bf2735b91d4a7f2dd5ac1245ae657f7ea7590c2c80e",
    "msg/SetpointMode": "RIHS01_3e679d1b5c3c04d77b57ea150b3363e26520f33efa75758631f0d80cc525fc12",
    "msg/StringStamped": "RIHS01_83efb802e6596e03f69ac322e3231037329946f2bd13ed48874d97f5b8f5db1d",
    "srv/QueryForwardKinematics": "RIHS01_5906fc58a120dbfa461f62abf0cd0d6e57d0967fa79ea4838b2d342e06d65323",
    "srv/QueryInverseKinematics": "RIHS01_a2ead2f28d548d1b8589033207d18095262a0a07cf3eb290cb4af77b679960be",
    "srv/TriggerOperatingState": "RIHS01_364ceef23563859e687f916bb77ba0c376c081cccce83eb6c576e14a6f8f8372",
}


@pytest.mark.parametrize("name", sorted(HASHES))
def test_each_type_hash_equals_the_communitys(name):
    description = json.loads((SHARE / f"{name}.json").read_text())
    hashes = {h["type_name"]: h["hash_string"] for h in description["type_hashes"]}
    assert hashes[f"crtk_msgs/{name}"] == HASHES[name]


def test_the_stated_hash_is_the_hash_of_the_stated_fields():
    """A sanity check of what the comparison rests on: RIHS01 is SHA-256 over the description in JSON (REP 2011)."""
    description = json.loads((SHARE / "msg" / "StringStamped.json").read_text())
    hashes = {h["type_name"]: h["hash_string"] for h in description["type_hashes"]}

    def plain(t):
        return {"type_name": t["type_name"], "fields": [
            {"name": f["name"], "type": {k: f["type"][k] for k in ("type_id", "capacity", "string_capacity", "nested_type_name")}}
            for f in t["fields"]]}

    m = description["type_description_msg"]
    text = json.dumps({
        "type_description": plain(m["type_description"]),
        "referenced_type_descriptions": [plain(r) for r in m["referenced_type_descriptions"]]})
    assert hashes["crtk_msgs/msg/StringStamped"] == "RIHS01_" + hashlib.sha256(text.encode()).hexdigest()
