"""PBFT as a pure state machine: one instance a height. One law: `step(event)` is all there is.

A replica has no clock, no randomness, no awaits and no log. It takes one event and returns effects; the same events
give the same effects, in a node, in the simulator and in a replay, bit for bit.

The driver's duties
===================

1. Construct `Replica` with the tip, the validator set and parameters of the next height, and the safety records that
   were persisted for that height, in their order. Increment and store the boot epoch first. A key that is no member's
   makes a *follower*: it learns and never signs.
2. Step with `Started`. Then step with every event, one at a time, from one task.
3. Carry out the effects of a step in their order, each finished before the next, all before the next step. `Persist`
   is finished when the records are on the disk: that is what makes "persist before send" true. Within a step, the
   replica puts what must be persisted first and in one piece, so that it costs one fsync.
4. `BuildBlock`, `ValidateBlock` and `FetchBlocks` are only *started*; the answer comes as an event, whenever it
   comes. It may come too late: the replica then ignores it. A driver may forget blocks it validated for a height once
   that height is appended.
5. `AppendBlock`: append block and certificate, execute the block if it has not been validated before (it has a
   quorum; if execution gives another header then this node is broken and must stop, not the network), delete the
   safety records of its height, all in one transaction. Then step with `BlockAppended`, before anything else. The
   step may contain `AppendBlock` as its last effect only.
   Construct with, and say in `BlockAppended`, who decides the next height *and* the one after it (`coming`), so that
   what the next set says early is understood.
6. After `BlockAppended`, say `WorkArrived` again if there is still something to propose. `WorkArrived` means that a
   block could be built now; a mempool that holds only transactions that cannot be executed yet is not work, since
   each validator that believes in work expects a proposal within the view's time-out.
7. `FetchBlocks`: get certified blocks by range from the named validators (another connection than that of the votes),
   step with `CertifiedBlockReceived` for each, in order, appending as told, then `FetchEnded`. Always answer with
   `FetchEnded`.
8. `Broadcast` goes to all connected validators and followers; messages prove their sender, so anybody may relay them.
   `Send` may be answered with silence. Both may be dropped at will: what matters is said again.
9. A certified state of a later height may take the place of blocks that cannot be had: verify it, write it, delete
   the safety records of its height and all below in the same transaction, and step with `SnapshotInstalled`. What was
   signed before was of lower heights, so the replica may sign at the next.
10. When safety records are lost, or may be older than what was said, construct with `observe_until_ms`, the time of the
   start plus `clock_drift_ms_max`, at every start until a block of at least that time has been appended: the replica
   signs nothing before. (A validator without whom there is no quorum cannot be repaired this way.)

Normal case
===========

    primary(h, v): WorkArrived -> BuildBlock -> BlockBuilt -> Persist, Broadcast(PRE-PREPARE)
    others:        PRE-PREPARE -> ValidateBlock -> BlockValidated -> Persist, Broadcast(PREPARE)
    all:           Q PREPAREs  -> Persist, Broadcast(COMMIT)
    all:           Q COMMITs   -> AppendBlock -> BlockAppended: height h + 1

No timer runs without a reason: work, an accepted proposal, or votes of f + 1 validators. No empty blocks. The
messages are listed in `messages`, what is persisted in `safety`, events and effects in `events`.

Differences from the paper
==========================

Source: Castro and Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999; Moniz, "The Istanbul BFT Consensus
Algorithm", arXiv 2002.03613.

* One instance a height, window 1: what block h + 1 means depends on the state after h. Hence no checkpoints and no
  sequence-number gaps: a block with its commit certificate is the checkpoint.
* Signatures instead of MAC vectors, so that certificates can be shown to anybody and messages relayed.
* The quorum is ceil((n + f + 1) / 2) for any n, not 2f + 1.
* The primary votes: its PRE-PREPARE carries its PREPARE seal, and a prepared certificate is Q PREPAREs of anybody.
* A view is opened by a certificate of Q VIEW-CHANGEs that anyone can assemble (a NEW-VIEW is the PRE-PREPARE that
  carries it), and it binds the primary to one block. VIEW-CHANGEs carry certificates, not blocks: a primary without
  the body asks for it.
* A replica asks for view v + 1 only from view v, or where f + 1 others already are; it stays there, repeating itself,
  until Q agree. Views do not run away while too many are down, and recovery is immediate (in PBFT time-outs double
  meanwhile).
* A valid block that keeps a waiting transaction off the chain counts as the end of its primary's time (R10; the driver
  says so in `BlockValidated`), if it is new and in the first f views of its height: suspicion costs f views at most.
* Only VIEW-CHANGE and STATUS of a lower height are answered with DECIDED. Late votes are the normal case with n > Q; a
  replica that lags says STATUS with everything it repeats.
* A height counts when a certificate or f + 1 members prove it. Blocks are fetched on the word of one as well, between
  two statuses: a replica that missed a change of the validator set can verify no proof of the new set's.
* A replica that receives an own word it does not know (another process has its key, or its data directory was
  restored) signs nothing until a block of a later height than that word's has been appended.

The files, in the order in which they are best read: `messages`, `events`, `safety` (the words), `committee`, `votes`,
`view_change`, `proposal` (what counts), `voter`, `ballots`, `pace`, `outbox` (what is done), `standing` (what is
waited for), `instance` (one height), `ahead`, `catch_up`, `replica` (all heights).
"""

from consensus.events import (
    AppendBlock,
    BlockAppended,
    BlockBuilt,
    BlockValidated,
    Broadcast,
    BuildBlock,
    CancelTimer,
    CertifiedBlockReceived,
    Drop,
    DropReason,
    Effect,
    Event,
    Evidence,
    FetchBlocks,
    FetchEnded,
    MessageReceived,
    Notice,
    NoticeKind,
    Persist,
    Report,
    Send,
    SetTimer,
    SnapshotInstalled,
    Started,
    Timer,
    TimerExpired,
    TimerKind,
    ValidateBlock,
    WorkArrived,
    WorkGone,
)
from consensus.messages import MESSAGE_BYTES_MAX, Message, decode_message, encode_message
from consensus.replica import Replica
from consensus.safety import SafetyRecordError
from consensus.standing import Awaited, Standing

__all__ = [
    "MESSAGE_BYTES_MAX",
    "AppendBlock",
    "Awaited",
    "BlockAppended",
    "BlockBuilt",
    "BlockValidated",
    "Broadcast",
    "BuildBlock",
    "CancelTimer",
    "CertifiedBlockReceived",
    "Drop",
    "DropReason",
    "Effect",
    "Event",
    "Evidence",
    "FetchBlocks",
    "FetchEnded",
    "Message",
    "MessageReceived",
    "Notice",
    "NoticeKind",
    "Persist",
    "Replica",
    "Report",
    "SafetyRecordError",
    "Send",
    "SetTimer",
    "SnapshotInstalled",
    "Standing",
    "Started",
    "Timer",
    "TimerExpired",
    "TimerKind",
    "ValidateBlock",
    "WorkArrived",
    "WorkGone",
    "decode_message",
    "encode_message",
]
