"""The SDK for asyncio: as `foedus`, with `async with`, `async for` and `await`."""

from foedus.client.opening import connect
from foedus.client.session import Round, Session, Submission

__all__ = ["Round", "Session", "Submission", "connect"]
