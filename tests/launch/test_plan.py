"""Launch files become exactly the processes they describe; what is not supported is refused with file and line."""

from pathlib import Path

import pytest

from teleop.launch.errors import LaunchFileError
from teleop.launch.plan import Installed, plan

commands: list[str] = []
INSTALLED = Installed(
    package_prefix=lambda name: "/prefix" if name == "known" else None,
    executable=lambda package, name: f"/prefix/lib/{package}/{name}" if package == "known" else None,
    environ={"HOME": "/home/x"},
    command=lambda line: commands.append(line) or f"<{line}>",
)


def write(tmp_path: Path, text: str, name: str = "a.launch.yaml") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def plan_of(tmp_path, text, **given):
    return plan([write(tmp_path, text)], given, INSTALLED).processes


def test_a_node_gets_name_namespace_parameters_and_remappings(tmp_path):
    (p,) = plan_of(tmp_path, """
launch:
- arg: {name: site, default: a}
- push_ros_namespace: {namespace: $(var site)}
- node:
    pkg: known
    exec: talker
    name: t
    namespace: arm1
    args: --fast
    param:
    - {name: rate, value: 5.0}
    - {name: label, value: "12"}
    - {name: on, value: $(var flag false)}
    - {from: /etc/x.yaml}
    remap: [{from: chatter, to: c2}]
    env: [{name: E, value: $(env HOME)/y}]
""", site="b")
    assert p.argv == ("/prefix/lib/known/talker", "--fast", "--ros-args", "-r", "__node:=t", "-r", "__ns:=/b/arm1",
                      "-r", "chatter:=c2", "-p", "rate:=5.0", "-p", "label:='12'", "-p", "on:=false",
                      "--params-file", "/etc/x.yaml")
    assert p.env == {"E": "/home/x/y"}
    assert p.name == "t"


def test_a_group_keeps_its_variables_environment_and_namespace_to_itself(tmp_path):
    inner, outer = plan_of(tmp_path, """
launch:
- let: {name: x, value: "1"}
- group:
  - let: {name: x, value: "2"}
  - set_env: {name: E, value: inside}
  - unset_env: {name: HOME}
  - executable: {cmd: echo $(var x), name: inner}
- executable: {cmd: echo $(var x), name: outer}
""")
    assert (inner.argv, dict(inner.env)) == (("echo", "2"), {"E": "inside", "HOME": None})
    assert (outer.argv, dict(outer.env)) == (("echo", "1"), {})


@pytest.mark.parametrize(("condition", "runs"), [
    ('if: "true"', True), ("if: false", False), ('unless: "0"', True), ('if: $(equals $(var m) "fast one")', True),
    ("if: $(and true $(not $(not-equals a a)))", True), ("unless: $(or false true)", False)])
def test_conditions_choose_what_runs(tmp_path, condition, runs):
    found = plan_of(tmp_path, f"""
launch:
- let: {{name: m, value: fast one}}
- executable:
    cmd: "true"
    {condition}
""")
    assert len(found) == int(runs)


def test_an_include_passes_arguments_and_finds_files_beside_itself(tmp_path):
    write(tmp_path, """
launch:
- arg: {name: n}
- executable: {cmd: echo $(var n), name: inner}
""", "inner.launch.yaml")
    (p,) = plan_of(tmp_path, """
launch:
- include: {file: $(dirname)/inner.launch.yaml, arg: [{name: n, value: "7"}]}
""")
    assert p.argv == ("echo", "7")


def test_two_processes_of_one_name_are_told_apart(tmp_path):
    first, second = plan_of(tmp_path, "launch:\n- executable: {cmd: sleep 1}\n- executable: {cmd: sleep 2}\n")
    assert (first.name, second.name) == ("sleep", "sleep-2")


def test_a_command_in_a_default_runs_only_where_the_default_is_used(tmp_path):
    text = """
launch:
- arg: {name: site, default: a}
- arg: {name: config, default: "$(command 'make --site $(var site)')"}
- executable: {cmd: echo $(var config)}
"""
    commands.clear()
    (p,) = plan_of(tmp_path, text, config="own.toml")
    assert (p.argv, commands) == (("echo", "own.toml"), [])
    (p,) = plan_of(tmp_path, text, site="b")
    assert (p.argv, commands) == (("echo", "<make", "--site", "b>"), ["make --site b"])


@pytest.mark.parametrize(("text", "line", "says"), [
    ("launch:\n- timer: {period: 1}\n", 2, "'timer' is not supported; supported: arg, let, node"),
    ("launch:\n- let: {name: x, value: y}\n- node: {pkg: known, exec: e, respawn: true}\n", 3, "'respawn' is not"),
    ("launch:\n- node: {pkg: known}\n", 2, "needs `exec`"),
    ("launch:\n- node: {pkg: unknown, exec: e}\n", 2, "no executable 'e' in package 'unknown'"),
    ("launch:\n- arg: {name: site, description: the hospital}\n", 2, "give site:=VALUE"),
    ("launch:\n- let: {name: x, value: $(var y)}\n", 2, "no such variable"),
    ("launch:\n- let: {name: x, value: $(eval 1+1)}\n", 2, "eval ...\\) is not supported"),
    ("launch:\n- let: {name: x, value: $(var y}\n", 2, "not closed"),
    ("launch:\n- let: {name: x, value: $(env NOPE)}\n", 2, "NOPE"),
    ("launch:\n- let: {name: x, value: $(find-pkg-share gone)}\n", 2, "no package 'gone'"),
    ("launch:\n- executable: {cmd: x, if: maybe}\n", 2, "true or false, not 'maybe'"),
    ("launch:\n- executable: {cmd: 'echo \"x'}\n", 2, "No closing quotation"),
    ("launch:\n- a: 1\n  b: 2\n", 2, "one key"),
    ("launch:\n- let: {name: x, name: y}\n", 2, "twice"),
    ("launch:\n- node: {pkg: known\n", 3, "not YAML"),
    ("launch: 5\n", 1, "list of actions"),
    ("nodes: []\n", 1, "single key `launch`"),
    ("", 1, "empty"),
    ("launch:\n- arg: {name: m, default: z, choice: [{value: a}, {value: b}]}\n", 2, "must be one of a, b"),
])
def test_a_malformed_file_is_refused_with_file_and_line(tmp_path, text, line, says):
    with pytest.raises(LaunchFileError, match=f"a.launch.yaml:{line}: .*{says}"):
        plan_of(tmp_path, text)


def test_a_misspelt_argument_is_refused_with_the_right_spelling(tmp_path):
    with pytest.raises(LaunchFileError, match=r"no launch argument 'sit'.*did you mean 'site'"):
        plan_of(tmp_path, "launch:\n- arg: {name: site, default: a}\n", sit="b")


def test_two_files_that_include_each_other_are_refused(tmp_path):
    write(tmp_path, "launch:\n- include: {file: $(dirname)/a.launch.yaml}\n", "b.launch.yaml")
    with pytest.raises(LaunchFileError, match="include each other"):
        plan_of(tmp_path, "launch:\n- include: {file: $(dirname)/b.launch.yaml}\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LaunchFileError, match=r"nope.yaml: No such file"):
        plan([tmp_path / "nope.yaml"], {}, INSTALLED)
