"""Add an arm by configuration: read its YAML, check it, and let a scripted hand move it through governor and drive.
Simulated, virtual time.

    .venv/bin/python examples/add_an_arm.py                                   # the built-in iiwa 7
    .venv/bin/python examples/add_an_arm.py --urdf .../ur5e/ur5e.urdf         # the UR5e of
    examples/add_an_arm/ur5e.yaml
    .venv/bin/python examples/add_an_arm.py --config my_arm.yaml              # yours
    .venv/bin/python examples/add_an_arm.py --urdf .../ur5e.urdf --write ur5e.yaml && longhand demo --sites 1 --arm ur5e.yaml

The same file goes to a whole hospital: `arm_model` in its site.toml, or `--arm` of `longhand demo` and `longhand
console`. A real arm with a CRTK face then
needs
`longhand_ros.crtk_arm_driver` instead of the simulation; what its controller must guarantee is in
docs/arm-guarantees.md.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from sim.hand_trial import HandTrial, Scheme
from sim.network.channel import Line
from sim.network.models import Normal
from teleop.arm.kinematics import warm
from teleop.arm.model import ModelError, load_model
from teleop.master.scripted import Reach, ScriptedDevice, Tremor

HERE = Path(__file__).resolve().parent
Q = (0.0, 0.0, 0.0, 1.0)


def with_urdf(config: Path, urdf: Path) -> Path:
    """A copy of the configuration that names this URDF."""
    settings = yaml.safe_load(config.read_text())
    settings["urdf"] = str(urdf.resolve())
    settings["tool"]["urdf"] = str((config.parent / settings["tool"]["urdf"]).resolve())
    copy = Path(tempfile.mkdtemp()) / config.name
    copy.write_text(yaml.safe_dump(settings))
    return copy


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, help="the arm's YAML file")
    parser.add_argument(
        "--urdf", type=Path, help="the URDF to use with it (default configuration: examples/add_an_arm/ur5e.yaml)"
    )
    parser.add_argument("--write", type=Path, help="with --urdf: keep the completed YAML file here")
    args = parser.parse_args()
    if args.write is not None and args.urdf is None:
        parser.error("--write keeps what --urdf completes: give both")
    config: str | Path = args.config or (HERE / "add_an_arm/ur5e.yaml" if args.urdf else "iiwa7")
    if args.urdf:
        config = with_urdf(Path(config), args.urdf)
    if args.write is not None:
        shutil.copy(config, args.write)
        print(f"wrote {args.write}")

    # 1. does the description fit together, and where is the guide at home?
    try:
        model = load_model(config)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    kin = warm(model)
    home = kin.fk(model.home)
    print(
        f"{model.name}: {model.n} joints, guide at {np.round(home[:3], 3)} m, smallest singular value {kin.singular_value(model.home):.3f}"
    )

    # 2. is there room to work? how many of the corners of a 0.1 m cube round home can it reach
    corners = [
        (home[0] + a, home[1] + b, home[2] + c, *home[3:])
        for a in (-0.05, 0.05)
        for b in (-0.05, 0.05)
        for c in (-0.05, 0.05)
    ]
    reached = 0
    for corner in corners:
        try:
            kin.solve(corner, model.home)
            reached += 1
        except ValueError as error:
            print(f"  not reachable: {error}")
    print(f"{reached} of {len(corners)} corners of the field reached")

    # 3. a hand moves it: 6 mm across and 4 mm down at scale 0.3, over a line of 30 ms each way
    reaches = [Reach(1.0, 3.0, (0.02, 0.0, -0.013, *Q)), Reach(3.0, 4.0, (0.02, 0.0, -0.013, *Q))]
    trial = HandTrial(
        ScriptedDevice(reaches, (0.0, 0.0, 0.0, *Q), Tremor()),
        Line(Normal(30.0, 2.0)),
        Scheme("example"),
        model=str(config),
    )
    trial.run(4.0)
    report = trial.arm.report
    assert report is not None
    moved = np.array(report.setpoint[:3]) - np.array(home[:3])
    print(f"moved {np.round(moved * 1e3, 2)} mm, drive {report.drive!r} {report.fault}")
    return 0 if np.linalg.norm(moved - (0.006, 0.0, -0.0039)) < 5e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
