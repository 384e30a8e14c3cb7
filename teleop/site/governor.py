"""Starts a site's governor from the site's TOML file: `python -m teleop.site.governor --config FILE`.

The kernel knows nothing of our files, so this reads them and then *becomes* `python -m safety.process` (execve): the
process that runs is the kernel's alone.
"""

import argparse
import os
import sys
from pathlib import Path

from teleop.case.site_config import SiteConfig, SiteConfigError, load_site_config


def arguments(config: SiteConfig) -> list[str]:
    """The kernel's command line for a site. Epochs are kept beside the keys, which survive a restart as they must; their
    folder is made here."""
    epochs = config.keys_dir.parent / "epochs"
    epochs.mkdir(mode=0o700, parents=True, exist_ok=True)
    args = ["--site", config.site, "--arm", config.arm, "--run-dir", str(config.run_dir), "--state-dir", str(epochs)]
    roles = config.keys_dir / "roles.toml"
    if roles.exists():
        args += ["--roles", str(roles)]
    if config.local_control:
        args.append("--local-control")
    if config.demo_qualification:
        args.append("--demo-qualification")
    if config.require_view:
        args += ["--param", "require_view=1"]
    return args


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m teleop.site.governor", description="The governor of one site.")
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    given, more = parser.parse_known_args()
    try:
        config = load_site_config(given.config)
    except SiteConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "safety.process", *arguments(config), *more]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(main())
