"""The flags of `run` and `config`, made from the table of keys."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from leaderd.config.keys import KEYS, LISTS
from leaderd.config.load import load
from leaderd.config.model import Config
from leaderd.config.problems import ConfigProblem

PRECEDENCE = """\
Settings come from the file, then the environment (each flag's variable is in brackets), then flags; the later one wins.
More keys than flags: `leaderd config show` lists all with their values, `leaderd config schema` describes the file."""


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """`--config` and a flag for every key that has one. All are text here: the rules are in `leaderd.config`."""
    parser.add_argument("--config", metavar="FILE", help="YAML file [LEADERD_CONFIG]")
    for key in KEYS:
        if key.flag is None:
            continue
        metavar = key.metavar or "|".join(key.choices)
        default = "" if key.default == "none" else f"; default: {key.default}"
        help_text = f"{key.meaning}{default} [{key.env}]".replace("%", "%%")
        if key.kind in LISTS:
            parser.add_argument(key.flag, dest=key.path, action="append", metavar=metavar, help=f"{help_text}; may be repeated")
        else:
            parser.add_argument(key.flag, dest=key.path, metavar=metavar, help=help_text)


def load_with(options: argparse.Namespace) -> Config | list[ConfigProblem]:
    """The configuration with these flags; read anew at every call."""
    given: dict[str, str | Sequence[str]] = {
        key.path: getattr(options, key.path) for key in KEYS if getattr(options, key.path, None) is not None
    }
    return load(options.config, os.environ, given)
