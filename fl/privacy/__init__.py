"""Privacy budgets: how much a site's data may have told, in all and in a while. One law: what was opened stays charged.

An *account* belongs to a site and one of its data sets. A task's terms say by which mechanism a round is trained, so
what a round costs is known before it begins: then it is *reserved* for every enrolled site that has an account, and
*committed* when the site's update is opened, whether or not the round comes to anything; what was not opened is
*released* when the round closes. In a round whose updates are not sealed, an update is opened when it is accepted,
since the validators hold its words from then on.

Enforced is the arithmetic: nobody takes part beyond its budget. That the noise was added, and how examples were drawn,
happens at the site, and is attested by its signature alone.

Read in this order: `renyi` and `epsilon` (what a mechanism costs), `records` and `state` (what the chain keeps),
`account` (reserve, commit, release), `actions` (what is voted on), `charging` (where execution asks).
"""
