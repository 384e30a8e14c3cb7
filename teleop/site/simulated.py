"""Lays out one simulated hospital for `longhand up`: folders, keys, and the TOML file its processes share."""

import os
import stat
import tempfile
from pathlib import Path

from teleop.case.site_config import SiteConfig, save_site_config
from teleop.link.keys import load_roles, make_directory

#: The person at the console of a hand-made simulated site.
CONSOLE = "console"


def state_dir() -> Path:
    """Where what must stay (keys, logs) goes: $LONGHAND_HOME, else ~/.local/state/longhand (XDG)."""
    home = os.environ.get("LONGHAND_HOME")
    if home:
        return Path(home).expanduser().resolve()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "longhand"


def run_dir(site: str) -> Path:
    """Where a site's sockets go: a private folder with a short name (a socket's path has 107 characters at most)."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(base) if base and Path(base).is_dir() else Path(tempfile.gettempdir())
    return root / f"longhand-{os.getuid()}" / site


def make_private(folder: Path) -> Path:
    """Create `folder` readable by us only, or check that it is. Raises PermissionError when it is another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of ours (uid {os.getuid()}); remove it or set XDG_RUNTIME_DIR")
    if info.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def lay_out(site: str, *, domain: int, index: int, local_control: bool, driver: str, seed: int) -> Path:
    """Write the site's configuration and, where there are none, its keys; gives the TOML file's path.

    Raises ValueError (a bad name or number), OSError, teleop.link.errors.KeyRefused.
    """
    state = state_dir()
    config = SiteConfig(
        site=site, index=index, domain=domain, run_dir=run_dir(site), log_dir=state / "logs", keys_dir=state / "keys",
        driver=driver, seed=seed, local_control=local_control, demo_qualification=True,
    )
    make_private(config.run_dir.parent)
    make_private(config.run_dir)
    make_private(state)
    config.log_dir.mkdir(exist_ok=True)
    _keys(config.keys_dir, site)
    file = config.run_dir / "site.toml"
    partial = config.run_dir / f"site.toml.{os.getpid()}"
    save_site_config(config, partial)
    partial.replace(file)  # whole or not at all: other processes of the site may be reading
    return file


def _keys(folder: Path, site: str) -> None:
    known = load_roles(folder).principals if (folder / "roles.toml").exists() else {}
    if site not in known:
        people = [] if CONSOLE in known else [(CONSOLE, "surgeon")]
        make_directory(folder, [site], people)
