"""What is wrong with a store, found by reading: `leaderd doctor`. One file per store, each check a small function.

`findings.py` has the words, `common.py` what does not depend on the store; `examine.py` chooses.
"""
