"""`SiteConfig`: everything one hospital's processes must agree on, in one checked TOML file.

Every process of a site reads the same file, so that a port, a path or a limit is written down once.
"""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: First TCP/UDP port of site number 0; each site takes a block of 100 (see docs/deploy or the README's table).
FIRST_PORT = 7400
PORTS_PER_SITE = 100


class SiteConfigError(ValueError):
    """The site's configuration cannot be used; the text says what, where and what to do."""


class SiteConfig(BaseModel):
    """One hospital: names, folders, ports, the arm, the case.

    All folders are absolute. Ports are on `host`; `relay_base` is where an emulated WAN listens in front of them
    (0: none). `require_view`: servo and jog need the displayed picture's stamp in every command (a site with cameras; without
    it the hand is governed by the state frames' age alone, and the status says HEADLESS). `domain` is the ROS domain of the
    hospital. `arm_model`: which arm stands here, a name in `teleop/arm/models` or the absolute path of a YAML file
    (docs/arm-guarantees.md).

    For the header of the session log: session (32 hex digits, the same at every site of one session; empty: one's own),
    the institution that invites (where the patient is) and the one invited (where the surgeon is), kind of service, ids
    (no names) of the people who operate, and the consent form's file, of which only the hash is recorded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")
    arm: str = Field(default="arm1", pattern=r"^[a-z][a-z0-9_]{0,30}$")
    index: int = Field(default=0, ge=0, le=500)
    domain: int = Field(default=41, ge=0, le=232)
    host: str = "127.0.0.1"
    run_dir: Path
    log_dir: Path
    keys_dir: Path
    case_dir: Path | None = None
    case_id: str = "SIM-0001"
    arm_model: str = Field(default="iiwa7", min_length=1)
    driver: str = Field(default="pybullet", pattern=r"^(pybullet|kinematic|crtk)$")
    seed: int = 1
    local_control: bool = False
    demo_qualification: bool = False
    require_view: bool = False
    correction: bool = True
    doctor: str = Field(default="panel", pattern=r"^(panel|scripted)$")
    relay_base: int = 0
    session: str = Field(default="", pattern=r"^([0-9a-f]{32})?$")
    inviting_institution: str = ""
    invited_institution: str = ""
    service: str = ""
    operators: tuple[str, ...] = ()
    consent_form: Path | None = None

    @property
    def base_port(self) -> int:
        """Orders (TCP) +0, stop (TCP) +1, stream path 0 (UDP) +2, path 1 (UDP) +3."""
        return FIRST_PORT + PORTS_PER_SITE * self.index

    @property
    def governor_socket(self) -> Path:
        return self.run_dir / "governor.sock"

    @property
    def arm_socket(self) -> Path:
        return self.run_dir / "arm.sock"

    @property
    def world_socket(self) -> Path:
        """The simulated room's own door: probe touches, breath-hold, bump; truth for the judge alone."""
        return self.run_dir / "world.sock"


def load_site_config(path: Path) -> SiteConfig:
    """Read and check a site's TOML file. Raises SiteConfigError naming the file, the field and the mend."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SiteConfigError(f"{path}: no such file; name the site's TOML file with --config") from None
    except tomllib.TOMLDecodeError as error:
        raise SiteConfigError(f"{path}: not TOML: {error}") from None
    try:
        return SiteConfig.model_validate(data)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SiteConfigError(f"{path}: {lines}") from None


def save_site_config(config: SiteConfig, path: Path) -> None:
    """Write the TOML that `load_site_config` reads back equal."""
    lines = []
    for key, value in config.model_dump(mode="json").items():
        if value is None:
            continue
        if isinstance(value, bool):
            lines.append(f"{key} = {str(value).lower()}")
        elif isinstance(value, int):
            lines.append(f"{key} = {value}")
        elif isinstance(value, list):
            lines.append(f"{key} = [{', '.join(_quoted(v) for v in value)}]")
        else:
            lines.append(f"{key} = {_quoted(value)}")
    path.write_text("\n".join(lines) + "\n")


def _quoted(value: object) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
