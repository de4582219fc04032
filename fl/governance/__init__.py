"""What a consortium decides about its learning: pauses, changes of a task, releases of models.

How a decision comes about (proposal, votes, enactment) is in `fl.membership.proposals`; here is what it does.
"""
