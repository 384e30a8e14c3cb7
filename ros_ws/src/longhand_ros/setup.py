"""ament_python package: built by colcon where ROS 2 is installed, by pip where it comes from wheels."""

from setuptools import find_packages, setup

NAME = "longhand_ros"
NODES = ("arm", "governor_adapter", "gateway", "case", "recorder", "console", "ward")

setup(
    name=NAME,
    version="0.1.0",
    description="The ROS 2 nodes of Longhand",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    # Prefixed, because pip puts them beside every other program of the environment.
    entry_points={"console_scripts": [f"longhand_{node} = {NAME}.{node}:main" for node in NODES]},
)
