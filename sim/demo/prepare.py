"""Lays out the folder of a demo: keys, one phantom patient and one configuration per hospital, the surgeon's list.

    OUT/keys/        CURVE and Ed25519 keys of every site and of the console, roles.toml
    OUT/<site>/      site.toml, case/ (images, labels, case.json), truth/ (the phantom's own geometry: judge only)
    OUT/console/     list.json, the images as fetched over the link, the signed plans
    OUT/logs/        one session log per site and one of the console
    RUN/<site>/      sockets (0700), kept out of OUT because a socket's path must be short
"""

import fcntl
import json
import os
import socket
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import IO

from sim import layout
from sim.phantom import generate
from teleop.arm.model import load_model
from teleop.case.case_file import write_case
from teleop.case.site_config import FIRST_PORT, PORTS_PER_SITE, SiteConfig, save_site_config
from teleop.case.surroundings import Surroundings
from teleop.link.keys import make_directory
from teleop.site.simulated import make_private, run_dir

#: The historic list: one surgeon in Beijing, three robots in three cities, on 27 August 2019; more names for more sites.
CITIES = (
    "tianjin", "karamay", "zhangjiakou", "yantai", "jiaxing", "zhuhai", "shenzhen", "gaozhou", "sanya", "qingdao",
    "chengdu", "lanzhou", "urumqi", "harbin", "kunming", "lhasa", "xian", "wuhan", "nanning", "guiyang",
    "hohhot", "yinchuan", "xining", "nanchang", "fuzhou", "hefei", "taiyuan", "changsha", "jinan", "dalian",
)
#: Links of the demo's hospitals, in turn (names of `sim.network` profiles).
PROFILES = ("beijing-tianjin", "beijing-karamay", "beijing-zhangjiakou")
CONSOLE = "beijing"
#: Where a site's emulated WAN listens within its block of ports, and every port of a block that a demo uses.
RELAY_OFFSET = 50
PORT_OFFSETS = (0, 1, 2, 3, *(RELAY_OFFSET + i for i in range(6)))
#: Hospitals with processes of their own, and how many of the others share one: while it waits a hospital of its own takes some
#: 20 to 25 % of a core, one in a ward 6 % with its emulated line, on a full machine (docs/results/fleet.md).
OWN_PROCESSES = 3
WARD_SIZE = 10
#: Locks of the blocks of ports this process chose; the kernel lets go of them when it ends, however it ends.
_LOCKS: list[IO[str]] = []
#: RMS of one touch of the tracked probe, as the planner is told (mm).
TOUCH_FLE_MM = 0.3
#: Kind of service, for the header of the session logs.
SERVICE = "remote guidance of pedicle screws, simulated"


@dataclass(frozen=True)
class Demo:
    """A laid-out demo. configs: one per hospital, in the surgeon's order; the first `own` of them have processes of their
    own, the others share a process in wards."""

    out: Path
    run: Path
    configs: tuple[SiteConfig, ...]
    profiles: tuple[str, ...]
    seed: int
    screws_per_site: int
    correction: bool
    own: int

    @property
    def wards(self) -> dict[str, tuple[SiteConfig, ...]]:
        """The hospitals that share a process, by the name of their ward."""
        shared = self.configs[self.own :]
        return {f"ward{i // WARD_SIZE + 1}": shared[i : i + WARD_SIZE] for i in range(0, len(shared), WARD_SIZE)}

    def profile_of(self, site: str) -> str:
        """The line of a hospital."""
        return self.profiles[[c.site for c in self.configs].index(site)]

    @property
    def list_file(self) -> Path:
        return self.out / "console" / "list.json"

    @property
    def events_file(self) -> Path:
        return self.out / "console" / "events.jsonl"

    def config_file(self, site: str) -> Path:
        return self.out / site / "site.toml"

    def log_of(self, site: str) -> Path | None:
        """The newest session log of a site."""
        logs = sorted((self.out / "logs").glob(f"*{site}*.mcap"), key=lambda p: p.stat().st_mtime)
        return logs[-1] if logs else None


def free_blocks(count: int) -> list[int]:
    """Numbers of `count` blocks of ports that nobody uses now; other demos are kept off them until this process ends,
    because a demo's ports are bound a minute after they were chosen.

    Raises OSError when there are not enough."""
    folder = run_dir("ports")
    make_private(folder.parent)
    make_private(folder)
    found: list[int] = []
    for index in range(400):
        lock = (folder / str(index)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if not all(_is_free(FIRST_PORT + PORTS_PER_SITE * index + offset) for offset in PORT_OFFSETS):
            lock.close()
            continue
        found.append(index)
        _LOCKS.append(lock)
        if len(found) == count:
            return found
    raise OSError(f"only {len(found)} of {count} blocks of ports are free from {FIRST_PORT} on; end other demos first")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def _write_patient(seed: int, folder: str, case_id: str) -> None:
    """Make one phantom patient and its case folder (runs in a process of its own; phantoms take seconds)."""
    from sim.phantom import load_landmarks, write

    case, truth = Path(folder) / "case", Path(folder) / "truth"
    phantom = generate(seed)
    written = write(phantom, truth, dicom=False)
    case.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in ("ct", "labels"):
        target = case / f"{name}.nii.gz"
        target.write_bytes(Path(written[name]).read_bytes())
        files[name] = target
    names, points = load_landmarks(truth / "landmarks.json")
    room = Surroundings(layout.TORSO_HALF, layout.TORSO_MIDDLE_Y, 0.10, layout.TABLE_HALF, layout.FLOOR_Z)
    write_case(case, case_id, files, dict(zip(names, points, strict=True)), TOUCH_FLE_MM, room)


def _warm(config: SiteConfig) -> None:
    """Compile the arm's kernels once, before a dozen processes would each do it (they are cached on disk)."""
    from teleop.case.paths import SitePaths

    SitePaths.for_site(config)


def _first_patient(seed: int, folder: str, case_id: str) -> None:
    """As `_write_patient`; then the planner's kernels are compiled on it, before every hospital's planner would at once."""
    from teleop.case.planning_door import warm_planner

    _write_patient(seed, folder, case_id)
    case = Path(folder) / "case"
    warm_planner(case / "ct.nii.gz", case / "labels.nii.gz")


def prepare(
    out: Path, sites: int, *, seed: int, screws_per_site: int, correction: bool, profile: str | None, driver: str,
    arm_model: str = "iiwa7", own: int = OWN_PROCESSES, host: str = "127.0.0.1", first: int = 0,
) -> Demo:
    """Write everything a demo needs. arm_model: which arm stands in every hospital (a name or a YAML file).

    Raises ValueError for a number of sites we have no names for, ModelError for an arm that cannot be used."""
    demo = lay_out(
        out, sites, seed=seed, screws_per_site=screws_per_site, correction=correction, profile=profile, driver=driver,
        arm_model=arm_model, own=own, host=host, first=first,
    )
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        # the two that compile (a minute each in a fresh environment) begin first, one on each core
        one, *others = demo.configs
        jobs = [pool.submit(_first_patient, one.seed, str(demo.out / one.site), one.case_id), pool.submit(_warm, one)]
        jobs += [pool.submit(_write_patient, c.seed, str(demo.out / c.site), c.case_id) for c in others]
        for job in jobs:
            job.result()
    return demo


def lay_out(
    out: Path, sites: int, *, seed: int, screws_per_site: int = 1, correction: bool = True, profile: str | None = None,
    driver: str = "pybullet", arm_model: str = "iiwa7", own: int = OWN_PROCESSES, patients: bool = True, host: str = "127.0.0.1",
    first: int = 0,
) -> Demo:
    """Keys, folders, configurations and the surgeon's list; `patients` False: hospitals without a case. host: this machine's address
    for consoles; first: number of the first hospital's name, where other machines have those before. Raises as `prepare`."""
    if not 1 <= sites <= len(CITIES) - first:
        raise ValueError(f"--sites {sites}: between 1 and {len(CITIES) - first} hospitals can be simulated")
    load_model(arm_model)
    if arm_model.endswith((".yaml", ".yml")):
        arm_model = str(Path(arm_model).resolve())
    out = out.resolve()
    run = Path(tempfile.mkdtemp(prefix="longhand-"))
    (out / "console").mkdir(parents=True, exist_ok=True)
    (out / "logs").mkdir(exist_ok=True)
    names = CITIES[first : first + sites]
    make_directory(out / "keys", names, [(CONSOLE, "surgeon")])
    configs: list[SiteConfig] = []
    session = os.urandom(16).hex()  # one for all sites, so that their logs can witness each other
    consent = out / "consent.txt"
    consent.write_text("Simulated: there is no patient, hence no consent. A hospital puts the file of its signed form here.\n")
    for index, name in zip(free_blocks(sites), names, strict=True):
        (run / name).mkdir(mode=0o700)
        (out / name).mkdir(exist_ok=True)
        config = SiteConfig(
            site=name, index=index, host=host, domain=41 + index % 60, run_dir=run / name, log_dir=out / "logs",
            keys_dir=out / "keys", case_dir=out / name / "case" if patients else None, case_id=f"SIM-{seed:04d}-{len(configs) + 1:02d}",
            arm_model=arm_model, driver=driver, seed=seed + len(configs), demo_qualification=True, correction=correction, doctor="scripted",
            relay_base=FIRST_PORT + PORTS_PER_SITE * index + RELAY_OFFSET, session=session,
            inviting_institution=f"{name} (simulated hospital)", invited_institution=f"{CONSOLE} (simulated institution)",
            service=SERVICE, operators=(CONSOLE, f"dr.{name}"), consent_form=consent,
        )
        save_site_config(config, out / name / "site.toml")
        configs.append(config)
    profiles = tuple(profile or PROFILES[i % len(PROFILES)] for i in range(sites))
    demo = Demo(out, run, tuple(configs), profiles, seed, screws_per_site, correction, own)
    demo.events_file.write_text("")
    demo.list_file.write_text(json.dumps({
        "keys_dir": str(out / "keys"), "console": CONSOLE, "folder": str(out / "console"),
        "screws_per_site": screws_per_site, "correction": correction, "session": session, "log_dir": str(out / "logs"),
        "institution": f"{CONSOLE} (simulated institution)", "service": SERVICE,
        "sites": [
            {"name": c.site, "host": c.host, "base": c.base_port, "relay_base": c.relay_base} for c in configs
        ],
    }, indent=1))
    return demo
