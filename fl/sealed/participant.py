"""A participant's part: keys once an epoch, one hidden vector a round. One law: a pad hides one update.

The keys of all sets make the whole pad; what is posted is the update less the pad, which tells nothing about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from fl.kernels.field import Elements
from fl.sealed.committee import Committee
from fl.sealed.keys import Dealt, KeyRing, deal_keys
from fl.sealed.messages import Answer, Dealing, Update
from fl.sealed.pads import whole_pad
from ledger.digest import Digest
from ledger.merkle import root_of_hashes
from ledger.payload import chunk_hashes


class Participant:
    """What a participant keeps of an epoch."""

    def __init__(
        self, committee: Committee, epoch: bytes, seat: int, box_keys: Sequence[bytes], entropy: Sequence[bytes]
    ) -> None:
        """Draw the keys.

        Args:
            committee: the validators.
            epoch: names the epoch.
            seat: the participant's place.
            box_keys: the validators' public keys for this setup.
            entropy: 32 random bytes for each set and then for each validator, never used before.
        """
        self._committee = committee
        self._seat = seat
        self._dealt: Dealt | None = deal_keys(committee, epoch, seat, box_keys, entropy)
        self._ring = KeyRing({(seat, place): key for place, key in enumerate(self._dealt.keys)})
        self.dealing = Dealing(seat, self._dealt.deal)

    def answer(self, validator: int) -> Answer:
        """Return what refutes a validator's complaint; only while the setup lasts."""
        assert self._dealt is not None, "the setup is over and its seeds are deleted"
        return Answer(self._seat, validator, self._dealt.seeds[validator])

    def finish_setup(self) -> None:
        """Delete the seeds, and the keys as they were dealt."""
        self._dealt = None

    def hide(self, slot: int, elements: Elements) -> Elements:
        """Return y = x - z; deletes what the pad was made of, so that no second update can be hidden with it.

        Args:
            slot: whose pads the round uses.
            elements: x, shape (d,) (`SealedTask.elements`).

        Raises:
            ForgottenSlotError: the slot's pad has been used.
        """
        places = range(len(self._committee.sets))
        subkeys = {place: self._ring.subkey(self._seat, place, slot) for place in places}
        self._ring.forget(slot)
        return self._committee.field.subtract(elements, whole_pad(self._committee, subkeys, len(elements)))

    def update(self, hidden: Elements, samples: int) -> Update:
        """Return the statement that names a hidden vector."""
        return Update(self._seat, root_of(hidden), samples)


def root_of(vector: Elements) -> Digest:
    """Return the root of a vector's bytes, uint64 little-endian, in the chunks of `ledger.payload`."""
    return root_of_hashes(chunk_hashes(vector.astype("<u8", copy=False).data.cast("B")))
