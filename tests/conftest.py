"""What holds for every test: temporary folders are made where no disk stalls (see testbed/scratch.py)."""

from __future__ import annotations

import os

from testbed.scratch import scratch_root

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch_root()))
