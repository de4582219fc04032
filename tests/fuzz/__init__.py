"""Fuzzing: every decoder of what comes from outside, by atheris. One law: only the typed errors come out.

`targets` names each decoder and the property that a run of it checks, `seeds` makes the corpus to begin with out of
real encodings, `mutation` changes records as records and not as mere bytes, `__main__` runs a campaign, and `found`
keeps the inputs that once broke something; `test_corpus.py` replays seeds, cheap changes of them, and what was found.
"""
