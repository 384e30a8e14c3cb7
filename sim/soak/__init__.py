"""Soak: three simulated hospitals for hours, video and voice on a measured line; what grows, drifts or goes missing is found.

`virtual` drives the shipped decisions in virtual time, `real` the shipped processes in real time; both bring `evidence`,
which `judge` judges purely.
"""
