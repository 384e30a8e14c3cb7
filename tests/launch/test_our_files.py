"""The launch files that are shipped."""

from pathlib import Path

import pytest

from teleop.launch.installed import here
from teleop.launch.plan import Installed, plan

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
PARTS = ["arm", "governor", "adapter", "gateway", "case", "recorder"]


@pytest.fixture
def installed():
    real = here()
    return Installed(real.package_prefix, lambda package, name: f"/bin/{name}", {}, lambda line: f"/run/{line.split()[2]}.toml")


def test_a_hospital_consists_of_its_six_processes_in_its_domain(installed):
    found = plan([LAUNCH / "hospital.launch.yaml"], {"site": "b", "domain": "57"}, installed).processes
    assert [p.name for p in found] == PARTS
    assert all("--config=/run/b.toml" in p.argv for p in found)
    assert {p.env["ROS_DOMAIN_ID"] for p in found} == {"57"}


def test_the_governor_is_started_without_ros_and_the_doctor_only_when_scripted(installed):
    found = plan([LAUNCH / "hospital.launch.yaml"], {"doctor": "scripted", "config": "x.toml"}, installed).processes
    (governor,) = [p for p in found if p.name == "governor"]
    assert "--ros-args" not in governor.argv
    assert [p.name for p in found] == [*PARTS, "doctor"]


def test_the_demo_has_three_hospitals_in_three_domains_behind_three_relays(installed):
    found = plan([LAUNCH / "demo.launch.yaml"], {}, installed).processes
    relays = [p for p in found if p.name.startswith("relay")]
    assert [p.argv[p.argv.index("--profile") + 1] for p in relays] == ["metro-fibre", "5g", "4g"]
    arms = [p for p in found if p.name.startswith("arm")]
    assert [p.env["ROS_DOMAIN_ID"] for p in arms] == ["41", "42", "43"]
    one = plan([LAUNCH / "demo.launch.yaml"], {"profiles": "bad"}, installed).processes
    assert [p.argv[p.argv.index("--profile") + 1] for p in one if p.name.startswith("relay")] == ["bad"] * 3


def test_the_console_takes_its_options(installed):
    (p,) = plan([LAUNCH / "console.launch.yaml"], {"args": "--sites 1 --port 0"}, installed).processes
    assert p.argv == ("longhand", "console", "--sites", "1", "--port", "0")
