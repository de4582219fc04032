"""The words every room shares: identities, canonical bytes, Merkle trees, transactions, blocks, certificates.

One law: nothing here does I/O, reads a clock or draws randomness. Whoever holds these modules and the
genesis document can check a whole chain.

Read in this order: `digest`, `codec`, `identity`, `fields` (how things are hashed, written, signed, bounded); `merkle`,
`state_tree`, `state_map`, `state_proof` (how facts are proven); `transaction`, `receipt`, `block`, `validators`,
`certificate`, `view_change` (what the chain consists of); `payload` (what travels beside it); `application`, `reigns`,
`execution` (how a block changes the state); `evidence` (who lied); `chain`, `light`, `succession` (how a stranger
checks it).
"""
