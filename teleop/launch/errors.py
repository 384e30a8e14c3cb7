"""The one error of launch files."""


class LaunchFileError(ValueError):
    """A launch file (or an argument given to it) cannot be used. The text starts with file:line where one is known."""
