"""What can go wrong between a participant and its node. One law: the message says what to do."""

from __future__ import annotations


class ClientError(Exception):
    """Base of everything the SDK raises on purpose."""


class NodeUnreachableError(ClientError):
    """The node did not answer for longer than the session is patient."""

    def __init__(self, *, url: str, seconds: float, last: str) -> None:
        super().__init__(
            f"{url} did not answer for {seconds:.0f} s (last: {last}): check that the node runs and the URL is its"
        )
        self.url = url
        self.seconds = seconds
        self.last = last


class NodeRefusedError(ClientError):
    """The node answered that it will not do what was asked."""

    def __init__(self, *, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class RefusedError(ClientError):
    """The chain refused a transaction; the reason stands in its receipt for everyone to see."""

    def __init__(self, code: str, detail: str) -> None:
        """Name the reason (`update.late`) and say what was needed and what came."""
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class UpdateRefusedError(RefusedError):
    """An update was not taken into its round: late, from the wrong base, a second one, ..."""


class RoundOverError(UpdateRefusedError):
    """The round closed before the update stood in the chain; go on with the next one."""


class EvaluationRefusedError(RefusedError):
    """An evaluation was not recorded."""


class NotEnrolledError(ClientError):
    """The key belongs to no participant of the chain."""

    def __init__(self, *, key: bytes, url: str) -> None:
        super().__init__(
            f"key {key.hex()} is no participant of the chain that {url} follows: is it the right key file and node?"
        )
        self.key = key
        self.url = url


class UnverifiedError(ClientError):
    """What the node said does not follow from what a quorum of the consortium signed: do not use it."""
