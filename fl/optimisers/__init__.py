"""Server optimisers: how an aggregate moves the model. One law: integers, word by word: the same bits.

What an optimiser remembers from round to round stands behind the model's words in the model's own payload. So it has
no life of its own: whoever has a certified model has its state, whoever recomputes the model recomputes it, and the
model's digest in the chain's state covers both.
"""

from fl.optimisers.server import Server, model_body, model_bytes
from fl.optimisers.spec import (
    FLOOR_WORDS_MAX,
    STEP_WORDS_MAX,
    OptimiserSpec,
    OptimiserSpecError,
    floor_words,
    memory_bytes,
    step_words,
)

__all__ = [
    "FLOOR_WORDS_MAX",
    "STEP_WORDS_MAX",
    "OptimiserSpec",
    "OptimiserSpecError",
    "Server",
    "floor_words",
    "memory_bytes",
    "model_body",
    "model_bytes",
    "step_words",
]
