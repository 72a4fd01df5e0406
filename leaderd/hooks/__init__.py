"""Hooks: a command is run, or a loopback address is told, when this instance starts or stops leading, or anything changes.

`observer` decides what is to be told, one election at a time and latest first; `call` tells it within a bound,
and kills what is late.
"""

from leaderd.hooks.call import Hook, HookError, parse_hook
from leaderd.hooks.observer import Hooks, HookSet, hook_bound_s

__all__ = ["Hook", "HookError", "HookSet", "Hooks", "hook_bound_s", "parse_hook"]
