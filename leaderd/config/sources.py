"""Where settings come from: a YAML file, the environment, flags. All give raw text with its origin; the later one wins."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leaderd.config.keys import BY_ENV, BY_PATH, KEYS, LISTS, OTHER_ENV, SECTIONS, Key
from leaderd.config.problems import ConfigProblem

_KUBERNETES = re.compile(
    r"LEADERD_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)", re.ASCII
)
_SECRET = re.compile(r"(password|passwd|secret|token|credential|api_?key|private_?key)(?!.*_file)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One raw value as text, and where it was written."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What one source says about one key: one item, or for a list any number."""

    items: tuple[Item, ...]
    origin: str


Settings = dict[str, Setting]


def from_environment(environ: Mapping[str, str]) -> tuple[Settings, list[ConfigProblem], list[str]]:
    """The settings, the problems and the warnings of the `LEADERD_*` variables. Empty ones count as not set."""
    settings: Settings = {}
    problems: list[ConfigProblem] = []
    warnings: list[str] = []
    for name, text in sorted(environ.items()):
        if not name.upper().startswith("LEADERD_") or not text:
            continue
        if key := BY_ENV.get(name):
            if "\ufffd" in text or any("\ud800" <= c <= "\udfff" for c in text):
                problems.append(ConfigProblem(key.path, None, "is not UTF-8 text", "write it in UTF-8", name))
                continue
            parts = [part.strip() for part in text.split(",")] if key.kind in LISTS else [text]
            settings[key.path] = Setting(tuple(Item(part, name) for part in parts), name)
        elif name not in OTHER_ENV and not _KUBERNETES.fullmatch(name):
            problem = _unknown_variable(name)
            if problem:
                problems.append(problem)
            else:
                warnings.append(f"the variable {name} is not one of leaderd's: it has no effect")
    return settings, problems, warnings


def from_flags(flags: Mapping[str, str | Sequence[str]]) -> Settings:
    """The settings of the command line; `flags` maps key paths to text, or for a list to all its texts."""
    settings: Settings = {}
    for path, given in flags.items():
        origin = BY_PATH[path].flag or path
        texts: Iterable[str] = [given] if isinstance(given, str) else given
        settings[path] = Setting(tuple(Item(text, origin) for text in texts), origin)
    return settings


def is_secret_name(name: str) -> bool:
    """Whether a value under this name is likely a secret, never to be shown; names of files are none."""
    return _SECRET.search(name) is not None


def unknown_key(path: str, origin: str) -> ConfigProblem:
    """The problem of a key that is not in the table, with what was probably meant."""
    section, _, last = path.rpartition(".")
    if is_secret_name(last):
        return _secret_in_the_open(path, origin)
    known = [*BY_PATH, *SECTIONS]
    siblings = sorted(k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == section)
    near = difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)
    elsewhere = [k for k in known if k.rpartition(".")[2] == last]
    if near:
        remedy = f"did you mean {near[0]}?"
    elif elsewhere:
        remedy = f"did you mean {elsewhere[0]}?"
    elif siblings:
        remedy = "known here: " + ", ".join(siblings)
    else:
        remedy = "remove it"
    return ConfigProblem(path, None, "unknown key", remedy, origin)


def _unknown_variable(name: str) -> ConfigProblem | None:
    if is_secret_name(name):
        return _secret_in_the_open(name, "environment")
    candidates: dict[str, Key] = {}
    for key in KEYS:
        candidates[key.env] = key
        candidates["LEADERD_" + key.path.upper().replace(".", "_")] = key
    near = difflib.get_close_matches(name.upper(), list(candidates), n=1, cutoff=0.8)
    if not near:
        return None
    return ConfigProblem(name, None, "unknown variable", f"did you mean {candidates[near[0]].env}?", "environment")


def _secret_in_the_open(name: str, origin: str) -> ConfigProblem:
    remedy = "put it into a file of mode 0600 and name that with store.auth.password_file or store.auth.token_file"
    return ConfigProblem(name, None, "a secret is never written into the configuration itself", remedy, origin)
