"""The command line `longhand`: one module of this package per command.

`teleop/cli/check_network.py` is the command `longhand check-network`. Such a module has
- a docstring whose first line is the help shown by `longhand --help` (read without importing the module), and
- `app`, a `typer.Typer` with one command, or several if the command has sub-commands.
Modules whose name starts with an underscore are not commands. A module is imported only when its command is typed, so
that no command pays for (or breaks by) the libraries of another.

Exit codes: 0 ok, 1 error, 2 usage, 3 safety limit or alarm found, 4 link, 5 denied, 130 interrupted; raise
`typer.Exit(code)`. An OSError, ValueError or RuntimeError becomes one line `error: ...` and exit 1 (with
LONGHAND_TRACEBACK=1 also the traceback); every other exception is a defect and shows its traceback.
"""
