"""Launch files in ROS 2's YAML form, read and run where `ros2 launch` is absent.

`document` reads YAML with line numbers, `substitution` expands `$(...)`, `plan` turns files and arguments into a list
of processes (pure), `runner` starts, watches and ends them (thin), `shm` removes what killed DDS participants left.
"""
