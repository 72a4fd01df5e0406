"""The simulated world: the real core, board and runner in virtual time, against simulated stores. See README.md."""
