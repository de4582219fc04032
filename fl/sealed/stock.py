"""A slot of the stock: one set of pads whose products are checked before any update exists. One law: no check, no pad.

Masked products lie on polynomials of degree 2f. They are accepted when 3f + 1 validators' agree; with n = 3f + 1 that
means all must post, which costs nothing while slots are dealt ahead. When all have posted and do not agree, the slot is
burnt: its subkeys are revealed (nothing was hidden with them), everybody computes every product anew, and who posted a
wrong one is named. A subkey counts as revealed once f + 1 members of its set gave the same: one of them is honest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from fl.kernels.field import Elements
from fl.sealed.committee import Committee, point_of
from fl.sealed.keys import KEY_BYTES
from fl.sealed.messages import Blame, Products, Refusal, Reveal, SlotMessage
from fl.sealed.pads import mask_shares, pad_share
from fl.sealed.polynomial import Opened, open_shares
from fl.sealed.shares import pair_masks, pairs_of, product_shares, upper


class Slot:
    """What is known of one set of pads; every node that takes the same messages knows the same."""

    def __init__(self, committee: Committee, dealers: Sequence[int], number: int, size: int) -> None:
        """Begin without products.

        Args:
            committee: the validators.
            dealers: participants whose keys stand, ascending.
            number: of the slot in its epoch.
            size: d.
        """
        self.committee = committee
        self.dealers = tuple(dealers)
        self.number = number
        self.size = size
        self.phase: str = "products"
        self.blamed: list[Blame] = []
        self.constants: tuple[int, ...] = ()
        self._products: dict[int, tuple[int, ...]] = {}
        self._opened: tuple[Opened, ...] = ()
        self._reveals: dict[int, tuple[tuple[bytes, ...], ...]] = {}
        self._subkeys: dict[tuple[int, int], bytes] = {}

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Validators without whose word the slot does not go on; while there are any, it must not be used."""
        posted = self._products if self.phase == "products" else self._reveals
        is_open = self.phase in ("products", "dispute")
        return tuple(seat for seat in range(self.committee.n) if is_open and seat not in posted)

    def handle(self, message: SlotMessage) -> Refusal | None:
        """Take a message of the sender it names; return why it changed nothing."""
        if not 0 <= message.validator < self.committee.n:
            return "unknown_validator"
        match message:
            case Products():
                return self._on_products(message)
            case Reveal():
                return self._on_reveal(message)
            case _:
                assert_never(message)

    def _on_products(self, message: Products) -> Refusal | None:
        field = self.committee.field
        if len(message.values) != len(pairs_of(len(self.dealers))) or not all(
            0 <= value < field.modulus for value in message.values
        ):
            return "malformed"
        known = self._products.get(message.validator)
        if known is not None:
            if known != message.values:
                self._blame(message.validator, "equivocation")
            return "repeated"
        if self.phase not in ("products", "ready"):
            return "not_now"
        self._products[message.validator] = message.values
        if self.phase == "ready":
            self._judge_late(message)
        else:
            self._open()
        return None

    def _open(self) -> None:
        opened = []
        for pair in range(len(pairs_of(len(self.dealers)))):
            shares = {point_of(seat): values[pair] for seat, values in self._products.items()}
            found = open_shares(self.committee.field, shares, 2 * self.committee.f, self.committee.f)
            if found is None:
                if len(self._products) == self.committee.n:
                    self.phase = "dispute"
                return
            opened.append(found)
        for found in opened:
            for point in found.wrong:
                self._blame(point - 1, "false_product")
        self._opened = tuple(opened)
        self.constants = tuple(found.secret for found in opened)
        self.phase = "ready"

    def _judge_late(self, message: Products) -> None:
        point = point_of(message.validator)
        if any(one.at(point) != value for one, value in zip(self._opened, message.values, strict=True)):
            self._blame(message.validator, "false_product")

    def _on_reveal(self, message: Reveal) -> Refusal | None:
        places = self.committee.sets_of(message.validator)
        if [len(keys) for keys in message.subkeys] != [len(places)] * len(self.dealers) or any(
            len(key) != KEY_BYTES for keys in message.subkeys for key in keys
        ):
            return "malformed"
        known = self._reveals.get(message.validator)
        if known is not None:
            if known != message.subkeys:
                self._blame(message.validator, "equivocation")
            return "repeated"
        if self.phase not in ("dispute", "burnt"):
            return "not_now"
        self._reveals[message.validator] = message.subkeys
        if self.phase == "dispute":
            self._settle()
        else:
            self._judge_reveal(message.validator)
        return None

    def _settle(self) -> None:
        """Once every subkey is known, compute all products anew."""
        needed = len(self.dealers) * len(self.committee.sets)
        known = self._known_subkeys()
        if len(known) < needed:
            return
        self._subkeys = known
        for validator in self._reveals:
            self._judge_reveal(validator)
        for validator, values in self._products.items():
            if self._true_products(validator) != values:
                self._blame(validator, "false_product")
        self.phase = "burnt"

    def _known_subkeys(self) -> dict[tuple[int, int], bytes]:
        known = {}
        for order in range(len(self.dealers)):
            for place, members in enumerate(self.committee.sets):
                votes = Counter(
                    self._reveals[seat][order][self.committee.sets_of(seat).index(place)]
                    for seat in members
                    if seat in self._reveals
                )
                for key, count in votes.items():
                    if count > self.committee.f:
                        known[order, place] = key
        return known

    def _judge_reveal(self, validator: int) -> None:
        places = self.committee.sets_of(validator)
        right = tuple(tuple(self._subkeys[order, place] for place in places) for order in range(len(self.dealers)))
        if self._reveals[validator] != right:
            self._blame(validator, "false_reveal")

    def _true_products(self, validator: int) -> tuple[int, ...]:
        subkeys = [
            {place: self._subkeys[order, place] for place in self.committee.sets_of(validator)}
            for order in range(len(self.dealers))
        ]
        return slot_shares(self.committee, validator, subkeys, self.size)[0]

    def _blame(self, validator: int, fault: str) -> None:
        blame = Blame("validator", validator, fault)  # type: ignore[arg-type]
        if blame not in self.blamed:
            self.blamed.append(blame)


def slot_shares(
    committee: Committee, validator: int, subkeys: Sequence[dict[int, bytes]], size: int
) -> tuple[tuple[int, ...], list[int], list[tuple[int, int]], Elements]:
    """Return a validator's masked products of a slot, the bare ones, its shares of the masks, and of the pads.

    Args:
        committee: the validators.
        validator: whose shares.
        subkeys: per dealer, by place of the set.
        size: d.
    """
    count = len(subkeys)
    pads = np.empty((count, size), np.uint64)
    for keys, row in zip(subkeys, pads, strict=True):
        pad_share(committee, validator, keys, row)
    contributions = [mask_shares(committee, validator, keys, count) for keys in subkeys]
    masks = pair_masks(committee.field, contributions)
    bare = list(upper(committee.field.gram(pads)))
    return product_shares(committee.field, bare, masks), bare, masks, pads
