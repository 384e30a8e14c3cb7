"""Write the configuration of one simulated hospital (and its keys, once) and print the file's name."""

import sys
from typing import Annotated

import typer

from teleop.site.simulated import lay_out

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example:  longhand site a --domain 41 --local-control true   (hospital.launch.yaml does this)")
def site(
    name: Annotated[str, typer.Argument(help="lower-case name of the hospital, e.g. a")],
    domain: Annotated[int, typer.Option(min=0, max=232, help="ROS domain of the hospital")] = 41,
    index: Annotated[int, typer.Option(min=0, max=500, help="which block of 100 ports from 7400 on")] = 0,
    local_control: Annotated[str, typer.Option(help="true: local CRTK clients may move the arm")] = "false",
    driver: Annotated[str, typer.Option(help="pybullet (physics) or kinematic")] = "pybullet",
    seed: Annotated[int, typer.Option(help="of the simulated room's hidden errors")] = 1,
) -> None:
    """Write the configuration of one simulated hospital and print the file's name."""
    words = {"true": True, "1": True, "false": False, "0": False}
    if local_control.lower() not in words:
        raise typer.BadParameter(f"--local-control is true or false, not {local_control!r}")
    local = words[local_control.lower()]
    # ROS's $(command) keeps a last newline, and so would the launch file's path.
    print(lay_out(name, domain=domain, index=index, local_control=local, driver=driver, seed=seed),
          end="\n" if sys.stdout.isatty() else "")
