"""The camera process of each simulated hospital. It renders only while somebody watches or an arm moves."""

import sys
from pathlib import Path

from sim.demo.prepare import Demo
from teleop.launch.document import At
from teleop.launch.plan import Process


def camera_processes(demo: Demo) -> list[Process]:
    """One per hospital, named "<site>/cameras"."""
    at = At(Path(__file__), 1)
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return [
        Process(f"{c.site}/cameras", ("nice", "-n", "5", sys.executable, "-m", "sim.cameras", "--config", str(demo.config_file(c.site))), one_thread, None, at)
        for c in demo.configs
    ]
