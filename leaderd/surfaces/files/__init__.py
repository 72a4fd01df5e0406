"""State files: `NAME.lease`, mapped by apps for an answer in less than a microsecond, and `NAME.json`, for everybody else.

A look at a file is no promise (I10): a voluntary release zeroes the field first, in the same step, before the store is told.
A file that nobody tends any more turns false by itself, because what it holds is a deadline (I1).
"""

from leaderd.surfaces.files.statefiles import StateFileError, StateFiles

__all__ = ["StateFileError", "StateFiles"]
