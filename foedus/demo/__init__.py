"""`foedus demo`: a consortium on one machine that trains under attack and proves it. One law: real processes only.

Nodes and trainers are the programs that institutions run; the demo starts them, breaks some, watches through the HTTP
API like anybody else, and compares. Read `run`, then `use_case` (what is learned), `processes`, `watch`, `table`,
`report`; `council` and `fraud` are for members that vote.
"""
