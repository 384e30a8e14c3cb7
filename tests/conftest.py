"""Tests that run whole processes in real time are given a second try: two busy cores can starve any of them.

Only those marked `ros` or `browser`. A test that fails twice in a row fails; pure tests get no second try.
"""

import pytest
from hypothesis import settings

# Property tests assert properties, not time: a busy machine must not fail one. Speed belongs in bench/.
settings.register_profile("longhand", deadline=None)
settings.load_profile("longhand")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("ros") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))
