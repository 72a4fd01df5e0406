"""One behavioural suite for every store: what a driver must do, whatever it talks to.

harness.py, candidate.py    what cases are written against; no case sleeps, reads a clock, or knows a driver
conftest.py                 the benches: local, real servers (marker `servers`), simulated stores
operators*.py               the operator's hands, by the stores' own means
proxy.py, wires.py          ways to a store that can be disturbed
simulated.py                the same bench in virtual time; cases marked `real` say why they are left out there
test_*.py                   the cases

pytest tests/contract -k local
pytest tests/contract -n 2 --dist loadgroup
"""
