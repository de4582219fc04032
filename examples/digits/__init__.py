"""Ten participants learn handwritten digits; each has mostly a few of them, and three of the ten lie."""
