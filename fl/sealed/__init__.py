"""Sealed aggregation: a robust rule on updates that nobody sees. One law: only inner products and one sum are opened.

Everything of degree two is moved onto random pads before any secret exists; what remains is linear. In the order of
use:

* `field`, `polynomial`, `committee`: arithmetic modulo 2^61 - 1, opening shares some of which lie, sets of validators;
* `keys`, `pads`, `shares`: what participants deal, the randomness behind it, what a validator says of it;
* `task`, `selection`, `certificate`: a rule's bounds, weights from the Gram matrix, whether the sum can be right;
* `setup`, `stock`, `round` (with `suspicions`): what everybody knows, as state machines over `messages`;
* `participant`, `validator`: what each of them keeps secret, and computes.

`docs/sealed.md` has the model, the argument, and what leaks. It has had no outside review. Nothing here is on the chain
yet.
"""
