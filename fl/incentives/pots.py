"""A round's stake and its settlement. One law: the stake is fixed with the input, and divided by what a quorum signed.

A pot is spread over the certified rounds that its task still has to come: each round that closes stakes what is in the
pot divided by their number. A stake of a round that fails goes back into the pot. When the task is over, what is left
goes to the treasury.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fl.aggregators import clip_norm_in_units
from fl.incentives import accounts
from fl.incentives.influence import weights_of
from fl.incentives.matrix import PAID_UPDATES_MAX, PAST_MAX, GramMatrix
from fl.incentives.records import Earning, Pot, RoundStake, Settlement
from fl.incentives.scores import Score, scores
from fl.incentives.shares import divide
from fl.incentives.state import account_of, pot_key, pot_of, settlement_key, stake_key, stake_of
from fl.records import RoundResult, RoundState, TaskState, UpdateState
from fl.state import present, update_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.receipt import Event

REPUTATION_PART = 16


def stake(state: Overlay, task: TaskState, closed: RoundState) -> tuple[Event, ...]:
    """Take a closed round's stake out of its task's pot, if there is one."""
    pot = pot_of(state, closed.task)
    amount = 0 if pot is None else pot.escrow // max(1, task.spec.rounds - task.certified)
    if pot is None or not amount or len(closed.participants) > PAID_UPDATES_MAX:
        return ()
    staked = RoundStake(closed.task, closed.number, amount, min(closed.base_version, PAST_MAX))
    write(state, stake_key(closed.task, closed.number), staked)
    write(state, pot_key(closed.task), msgspec.structs.replace(pot, escrow=pot.escrow - amount))
    return (Event("reward.staked", f"{closed.task}/{closed.number}", f"{amount} credits"),)


def give_back(state: Overlay, failed: RoundState) -> None:
    """Put the stake of a round that failed back into the pot."""
    staked = stake_of(state, failed.task, failed.number)
    if staked is not None:
        pot = present(pot_of(state, failed.task), "a staked pot")
        write(state, pot_key(failed.task), msgspec.structs.replace(pot, escrow=pot.escrow + staked.amount))


def close(state: Overlay, task: TaskState) -> tuple[Event, ...]:
    """Give what is left in the pot of a task that is over to the treasury."""
    name = task.spec.id
    pot = pot_of(state, name)
    if pot is None or not pot.escrow:
        return ()
    accounts.release(state, pot.escrow)
    emptied = msgspec.structs.replace(pot, escrow=0, returned=pot.returned + pot.escrow)
    write(state, pot_key(name), emptied)
    return (Event("reward.returned", name, f"{pot.escrow} credits to the treasury"),)


def require_matrix(state: StateReader, closed: RoundState, result: RoundResult) -> None:
    """Check that a result brings the Gram matrix exactly if its round is paid for.

    Raises:
        RefusalError: `aggregate.wrong_input`.
    """
    staked, matrix, count = stake_of(state, closed.task, closed.number), result.matrix, len(closed.participants)
    if staked is None:
        fits = matrix is None
        needed = "no Gram matrix"
    else:
        fits = matrix is not None and matrix.is_complete and (matrix.updates, matrix.past) == (count, staked.past)
        needed = f"the Gram matrix of {count} updates and {staked.past} global ones"
    if not fits:
        raise RefusalError("aggregate.wrong_input", f"{closed.task}/{closed.number} needs a result with {needed}")


def settle(
    state: Overlay, context: BlockContext, task: TaskState, result: RoundResult, closed: RoundState
) -> tuple[Event, ...]:
    """Divide a certified round's stake; nothing happens when it has none."""
    staked, matrix = stake_of(state, closed.task, closed.number), result.matrix
    if staked is None:
        return ()
    assert matrix is not None, "that was required"
    updates = [
        present(update_of(state, closed.task, closed.number, name), "an update in a round")
        for name in closed.participants
    ]
    scored = _scored(task, result, matrix, closed)
    shares = divide(staked.amount, scored, closed.participants, closed.seed)
    accounts.release(state, staked.amount)
    subject = f"{closed.task}/{closed.number}"
    amounts = [
        _pay(state, context, update.organisation, one, share, subject)
        for update, one, share in zip(updates, scored, shares, strict=True)
    ]
    _record(state, staked, updates, scored, amounts)
    return (Event("reward.settled", subject, f"{sum(amounts)} of {staked.amount} credits"),)


def _scored(task: TaskState, result: RoundResult, matrix: GramMatrix, closed: RoundState) -> tuple[Score, ...]:
    gram = matrix.gram()
    bound = clip_norm_in_units(task.spec.clip_norm_micros, closed.exponents)
    norms = [gram[row][row] for row in range(matrix.updates)]
    weights = weights_of(task.spec.rule, result.contributions, norms, bound)
    return scores(gram, matrix.past, weights, task.spec.schema.size)


def _pay(state: Overlay, context: BlockContext, organisation: str, one: Score, share: int, subject: str) -> int:
    """Pay a share out of the treasury, where the stake is, and move the reputation; return what was paid."""
    if not accounts.may_have_account(state, organisation):
        return 0
    if share:
        accounts.pay(state, context, organisation, share, "earned", subject)
    reputation = account_of(state, organisation).reputation
    moved = reputation - reputation // REPUTATION_PART + one.score // REPUTATION_PART
    accounts.set_reputation(state, organisation, moved)
    return share


def _record(
    state: Overlay, staked: RoundStake, updates: Sequence[UpdateState], scored: Sequence[Score], amounts: Sequence[int]
) -> None:
    names = [update.participant for update in updates]
    earnings = tuple(
        Earning(
            update.participant,
            update.organisation,
            names[one.cluster],
            one.cluster_size,
            one.information_micros,
            one.score,
            amount,
        )
        for update, one, amount in zip(updates, scored, amounts, strict=True)
    )
    paid = sum(amounts)
    returned = staked.amount - paid
    settlement = Settlement(staked.task, staked.round, staked.amount, paid, returned, earnings)
    write(state, settlement_key(staked.task, staked.round), settlement)
    pot = present(pot_of(state, staked.task), "a staked pot")
    counted = msgspec.structs.replace(pot, paid=pot.paid + paid, returned=pot.returned + returned)
    write(state, pot_key(staked.task), counted)


def empty_pot(task: str) -> Pot:
    """Return a pot that nobody has funded yet."""
    return Pot(task, 0, 0, 0, 0)
