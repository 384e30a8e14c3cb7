"""The cameras of a simulated hospital: renders the room, the guide's view and the ultrasound, and sends them.

    python -m sim.cameras --config SITE.toml [--no-record] [--freeze guide=hung]

Asks the simulated room where everything is (`world.sock`, the request a camera's light makes), serves `media.sock`.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

from sim.layout import truth_folder
from sim.pictures.cameras import View, nominal_view
from sim.pictures.source import RoomSource
from sim.world_client import WorldClient
from teleop.arm.model import load_model
from teleop.case.room import RoomError
from teleop.case.site_config import SiteConfig, load_site_config
from teleop.media.site_end import SiteEnd


class Looker:
    """Where everything is now; RuntimeError while the room is silent, and then not asked more than once a second."""

    def __init__(self, config: SiteConfig) -> None:
        self._world = WorldClient(config.world_socket, timeout_s=0.5)
        self._names = load_model(config.arm_model).joint_names

    def __call__(self) -> tuple[View, int]:
        try:
            seen = self._world.ask("look")
        except RoomError as error:
            raise RuntimeError(str(error)) from None
        q = dict(zip(self._names, seen["q"], strict=True))
        return View(q, tuple(seen["world_T_tip"]), tuple(seen["world_T_ct"])), int(seen["stamp"])


def make_source(config: SiteConfig) -> RoomSource:
    """The cameras of a site by its configuration."""
    model = load_model(config.arm_model)
    folder = truth_folder(config.case_dir)
    truth = folder / "mesh_m" if folder is not None else None
    view = Looker(config) if config.driver != "crtk" else None
    if view is None:
        still = nominal_view(model)
        return RoomSource(model, lambda: (still, time.monotonic_ns()), truth, config.case_dir)
    return RoomSource(model, view, truth, config.case_dir)


async def serve(config: SiteConfig, record: bool, freeze: dict[str, str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    source = make_source(config)
    source.freeze = freeze
    store = config.log_dir / f"video-{config.site}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}" if record else None
    await SiteEnd(source, config.run_dir / "media.sock", store).run(stop)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim.cameras", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    parser.add_argument("--no-record", action="store_true", help="store no pictures beside the session log")
    parser.add_argument("--freeze", action="append", default=[], metavar="STREAM=HOW", help="a drill: hung or silent")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    freeze = dict(f.split("=", 1) for f in args.freeze)
    asyncio.run(serve(load_site_config(args.config), not args.no_record, freeze))
    return 0


if __name__ == "__main__":
    sys.exit(main())
