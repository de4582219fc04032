"""What the API says of policies. One law: as in `answers`, digests are hexadecimal."""

from __future__ import annotations

from node.api.answers import Answer


class PolicyItem(Answer, frozen=True):
    """A rule that the consortium set itself."""

    name: str
    occasion: str
    """`task`, `round`, `update`, `close`, `proposal` or `release`."""

    description: str
    source: str
    """The expression, as it was proposed."""

    tree: str
    """Digest of its tree, whatever its layout."""

    clauses: tuple[str, ...]
    """What must hold; refusals name one of them by its number, from 1."""

    cost_max: int
    """Steps that judging takes at most."""

    adopted_height: int
    """Block that brought it into force; 0 for one that is only proposed."""

    repealed_height: int
    """Block that repealed it; 0 while it is in force."""


class PoliciesAnswer(Answer, frozen=True):
    """Policies that are or were in force, ascending by name."""

    items: tuple[PolicyItem, ...]
    next: str | None = None
    """Value of `after` for the next page; none after the last."""


class TermsAnswer(Answer, frozen=True):
    """What a quorum agreed about a task beside its specification."""

    task: str
    purpose: str
    data_set: str
    architecture: str
    code_hash: str
    privacy_tier: int
    retention_heights: int
    reward_share_permille: int
    noise_micros: int
    """Agreed: noise over the clipping bound, in millionths; that it is added is attested by each site."""

    sampling_micros: int
    """Agreed: how likely an example takes part in a step, in millionths; attested as well."""

    steps: int
    """Agreed: noisy steps in a round; attested as well."""


class SiteItem(Answer, frozen=True):
    """What an institution declares of itself: attested by it, checked by nobody."""

    organisation: str
    region: str
    purposes: tuple[str, ...]
    privacy_tier: int
    ethics_id: str
    ethics_expiry_height: int
    consent: str
    reviews: tuple[str, ...]
    officer: str
    height: int


class SitesAnswer(Answer, frozen=True):
    """What institutions declare, ascending by name."""

    items: tuple[SiteItem, ...]
    next: str | None = None
    """Value of `after` for the next page; none after the last."""
