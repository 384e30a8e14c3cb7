"""`longhand doctor` finds what is missing."""

import socket

from teleop.launch import shm
from teleop.site import doctor


def test_a_port_in_use_is_named():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        index = next(i for i in range(300, 500) if _free(taken, 7400 + 100 * i + 2))
        check = doctor.ports(index)
        assert check.level == doctor.NOTE and str(7400 + 100 * index + 2) in check.found and check.mend


def _free(sock, port):
    try:
        sock.bind(("127.0.0.1", port))
        return True
    except OSError:
        return False


def test_a_missing_library_is_named_with_its_distribution(monkeypatch):
    monkeypatch.setitem(doctor.MODULES, "no_such_module_here", "no-such-dist")
    check = doctor.libraries()
    assert check.level == doctor.BAD and "no-such-dist" in check.found


def test_a_message_package_that_does_not_import_is_told_in_its_own_words():
    assert "no_such_msgs" in doctor._imports("no_such_msgs.msg")


def test_two_ros_in_one_environment_are_refused(monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    assert doctor.sourced().level == doctor.BAD
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert doctor.sourced().level == doctor.GOOD


def test_leftovers_of_dead_processes_are_counted(monkeypatch, tmp_path):
    (tmp_path / "fastdds_0123").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(shm, "leftovers", lambda: [tmp_path / "fastdds_0123"])
    check = doctor.leftovers()
    assert check.level == doctor.NOTE and "1 files" in check.found and "2 MB" in check.found


def test_every_check_that_finds_fault_says_how_to_mend_it():
    for check in doctor.run_checks():
        assert check.found and (check.level == doctor.GOOD or check.mend), check
