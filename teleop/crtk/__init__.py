"""The CRTK face of an arm, decided purely: what a local client's words become, all of it through the governor.

`states` translates operating states and commands, `stream` writes command frames, `moves` turns goals into checked
paths, `session` keeps what one local principal is doing. `longhand_ros.governor_adapter` is their thin edge.
Convention: collaborative-robotics/documentation, "CRTK robot API" (operating states and motion commands).
"""
