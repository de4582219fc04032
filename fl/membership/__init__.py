"""Who belongs to the consortium, by its own vote. One law: no institution changes the set of validators alone.

A *proposal* says what is to happen; officers of the validators' organisations approve it, one vote an organisation;
when a quorum has, it waits for what else it needs (its time, a newcomer that is in sync) and is then *enacted*. All
that members decide goes this way, whatever its package; what is enacted here are changes of *seats*: they are carried
out at the end of a block, a few a height, and the set that comes of them decides the height after the next.
*Evidence* needs no vote: whoever proves that a validator signed two things of which an honest one signs one takes its
seat away, and it comes back by vote.

Read in this order: `cards` (what an institution brings), `records` (what is said and kept), `state` (where),
`proposals` and `actions` (from proposal to enactment), `rotation`, `evidence` (what else changes seats), `seats` (how
they change), `block_end`.
"""
