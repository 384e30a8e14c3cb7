"""Waiting for an event or a time, whichever is first, in a way that can be cancelled.

`asyncio.wait_for` of Python 3.11 swallows a cancellation that meets the event, and a loop that waits 200 times a second then never ends.
"""

import asyncio


async def wake_or(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set (it is cleared) or after `seconds`."""
    handle = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        handle.cancel()
    event.clear()
