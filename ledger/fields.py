"""Types of record fields, with their bounds. One law: a bound is checked when the bytes are decoded.

The `New*` types tell one integer or byte string from another in the type checker; the `*Field` types are what records
are declared with.
"""

from typing import Annotated, Final, NewType

from msgspec import Meta

from ledger.digest import DIGEST_BYTES, Digest
from ledger.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, PublicKey, Signature

UINT_MAX: Final = 2**63 - 1
NAME_CHARACTERS_MAX: Final = 64
NAME_PATTERN: Final = r"^(?!.*\n)[a-z0-9][a-z0-9._-]{0,63}$"
"""`$` alone would let a line feed at the end pass."""

Height = NewType("Height", int)
"""Position of a block in the chain; the first block has height 1."""

View = NewType("View", int)
"""Attempt at deciding one height; its number picks the primary."""

Uint = Annotated[int, Meta(ge=0, le=UINT_MAX)]
HeightField = Annotated[Height, Meta(ge=0, le=UINT_MAX)]
ViewField = Annotated[View, Meta(ge=0, le=2**31)]
TimeField = Annotated[int, Meta(ge=0, le=UINT_MAX)]
"""Milliseconds since 1970-01-01 UTC."""

DigestField = Annotated[Digest, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
PublicKeyField = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
SignatureField = Annotated[Signature, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
NameField = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=NAME_CHARACTERS_MAX)]
"""Lower-case letters, digits, dot, dash, underscore; at most 64; so that it is safe in paths and URLs."""
