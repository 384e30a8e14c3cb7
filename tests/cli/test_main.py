"""`longhand` finds its commands by their files, imports only the one that is typed, and fails in words."""

import subprocess
import sys
from pathlib import Path

import pytest

from teleop.cli import _main


@pytest.fixture
def command_folder(tmp_path, monkeypatch):
    """A folder of commands of its own, as package `teleop.cli` would have them."""
    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)

    monkeypatch.setattr(_main, "__file__", str(tmp_path / "_main.py"))
    monkeypatch.setattr("teleop.cli.__path__", [str(tmp_path)])
    yield write
    for name in [n for n in sys.modules if n.startswith("teleop.cli.zz_")]:
        del sys.modules[name]


def test_every_command_of_the_repository_has_a_summary():
    for name, file in _main.commands().items():
        assert _main.summary(file), name


def test_help_imports_no_command():
    code = "import sys; from teleop.cli._main import run; run(['--help']); print([m for m in sys.modules if m in " \
           "('rclpy', 'pybullet', 'zmq', 'numba', 'starlette', 'teleop.cli.up')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.rstrip().endswith("[]") and "Exit codes" in out


def test_an_unknown_command_is_refused_with_the_nearest_one(capsys):
    assert _main.run(["docter"]) == _main.USAGE
    assert "did you mean 'doctor'" in capsys.readouterr().err


@pytest.mark.parametrize(("body", "code", "says"), [
    ("raise ValueError('no key in x')", 1, "error: no key in x"),
    ("raise FileNotFoundError(2, 'No such file', 'x.toml')", 1, "x.toml"),
    ("raise SystemExit(3)", 3, ""),
    ("raise KeyboardInterrupt", 130, ""),
    ("import no_such_library", 1, "needs the Python module 'no_such_library'"),
])
def test_what_goes_wrong_becomes_one_line_and_its_exit_code(command_folder, capsys, body, code, says):
    name = f"zz_{abs(hash(body))}"
    command_folder(name, f'"""Test."""\ndef app(args, prog_name):\n    {body}\n')
    assert _main.run([name.replace("_", "-")]) == code
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err


def test_a_defect_shows_itself(command_folder):
    command_folder("zz_defect", '"""Test."""\ndef app(args, prog_name):\n    [].pop(3).x\n')
    with pytest.raises(IndexError):
        _main.run(["zz-defect"])


def test_arguments_reach_the_command(command_folder, capsys):
    command_folder("zz_echo", '"""Test."""\ndef app(args, prog_name):\n    print(prog_name, args)\n')
    assert _main.run(["zz-echo", "-x", "1"]) == 0
    assert capsys.readouterr().out == "longhand zz-echo ['-x', '1']\n"


def test_a_broken_module_does_not_break_the_help(command_folder):
    command_folder("zz_broken", "def (:")
    assert "(does not parse)" in _main.summary(Path(_main.__file__).with_name("zz_broken.py"))
