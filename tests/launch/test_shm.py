"""Only the shared memory of dead participants is removed."""

import fcntl
import mmap

from teleop.launch import shm


def make(directory, *names):
    for name in names:
        (directory / name).write_bytes(b"x" * 4096)


def test_files_of_nobody_go_and_others_stay(tmp_path):
    make(tmp_path, "fastdds_0a1b", "fastdds_0a1b_el", "sem.fastdds_port7000_mutex", "other")
    make(tmp_path, "fastdds_held", "fastdds_held_el")
    with (tmp_path / "fastdds_held_el").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert shm.clean(tmp_path, min_age_s=0.0) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fastdds_held", "fastdds_held_el", "other"]


def test_young_files_are_left_to_whoever_is_starting(tmp_path):
    make(tmp_path, "fastdds_0a1b", "fastdds_0a1b_el")
    assert shm.leftovers(tmp_path, min_age_s=3600.0) == []


def test_a_segment_some_process_maps_stays(tmp_path):
    (shm.SHM / "fastdds_longhandtest").write_bytes(b"x" * 4096)
    try:
        with (shm.SHM / "fastdds_longhandtest").open("r+b") as f, mmap.mmap(f.fileno(), 4096):
            f.close()
            assert not [p for p in shm.leftovers(min_age_s=0.0) if p.name == "fastdds_longhandtest"]
        assert [p for p in shm.leftovers(min_age_s=0.0) if p.name == "fastdds_longhandtest"]
    finally:
        (shm.SHM / "fastdds_longhandtest").unlink()
