"""What of a site's file reaches the kernel's command line."""

from pathlib import Path

from safety.params import Params
from safety.process import parser
from teleop.case.site_config import SiteConfig, load_site_config, save_site_config
from teleop.site.governor import arguments


def config(folder: Path, **changes: object) -> SiteConfig:
    folders = {"run_dir": folder, "log_dir": folder, "keys_dir": folder / "keys"}
    made = SiteConfig(**({"site": "a"} | folders | changes))  # type: ignore[arg-type]
    save_site_config(made, folder / "site.toml")
    return load_site_config(folder / "site.toml")


def test_a_site_with_cameras_makes_the_hand_depend_on_the_displayed_picture(tmp_path: Path) -> None:
    words = parser().parse_args(arguments(config(tmp_path, require_view=True)))
    assert Params.from_words(words.param).require_view
    assert not Params.from_words(parser().parse_args(arguments(config(tmp_path))).param).require_view


def test_demo_certificates_and_local_control_are_off_unless_the_file_says_so(tmp_path: Path) -> None:
    plain = parser().parse_args(arguments(config(tmp_path)))
    assert not plain.demo_qualification and not plain.local_control
    both = parser().parse_args(arguments(config(tmp_path, demo_qualification=True, local_control=True)))
    assert both.demo_qualification and both.local_control


def test_the_folder_of_epochs_is_there_before_the_kernel_asks_for_it_and_is_nobody_elses(tmp_path: Path) -> None:
    words = parser().parse_args(arguments(config(tmp_path)))
    assert Path(words.state_dir) == tmp_path / "epochs" and (tmp_path / "epochs").stat().st_mode & 0o777 == 0o700
