"""leaderd: a sidecar that answers "may I act as the leader right now?", so that the answer cannot be stale.

The map of the package, in the direction in which data moves::

    store ──► stores/x.py ──event──► runner ──(event, now)──► election/ (pure)
                    ▲                  │  ◄──[commands]──────────┘
                    └────command───────┤
                                       └── snapshot ──► board ──► surfaces/* ──► app

``election/`` decides, and does nothing else: it is synchronous, and time is an argument. ``stores/`` turn commands into wire
calls and wire answers into events, with no policy of their own. ``runner`` is the one loop between the two. ``board`` holds
the one immutable snapshot; ``surfaces/`` render it and compare the deadline with the clock at the moment of the answer.
``daemon`` puts the parts together, ``cli`` starts it, ``client`` is what apps import.
"""

__version__ = "0.1.0"
