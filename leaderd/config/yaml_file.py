"""The YAML file, read strictly: plain mappings, lists and words, each with its line; everything clever in YAML is refused.

Built on the parser's events and not on `safe_load`: aliases (a few of which expand to gigabytes) and tags are never followed,
a duplicate key is seen, words stay words (`off` is not `false`, `0660` not 432), and every value knows its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from leaderd.config.keys import BY_PATH, LISTS, SECTIONS, SWITCHABLE, Kind
from leaderd.config.problems import ConfigProblem
from leaderd.config.sources import Item, Setting, Settings, is_secret_name, unknown_key

MAX_BYTES = 256 * 1024
MAX_DEPTH = 8
_NULLS = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A word; `text` is `None` when the value is left out or null."""

    text: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    items: list[Node]
    line: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping, in the order of the file; the line is that of the key."""

    entries: list[tuple[str, int, Node]]
    line: int


Node = Scalar | Many | Mapped


def read_file(path: str) -> tuple[Settings, list[ConfigProblem]]:
    """The settings of a file, and everything that is wrong with it."""
    try:
        text = _read_text(Path(path))
        root, problems = _Tree(text, path).read()
    except _Unreadable as exc:
        origin = f"{path}:{exc.line}" if exc.line else path
        return {}, [ConfigProblem("config", None, exc.rule, exc.remedy, origin)]
    walk = _Walk(path, problems)
    if isinstance(root, Mapped):
        walk.mapping(root, "")
    elif not (isinstance(root, Scalar) and root.text is None):
        problems.append(
            ConfigProblem(
                "config", None, "the file is no mapping of keys", "write lines like `timing: {ttl: 10s}`", f"{path}:{root.line}"
            )
        )
    return walk.settings, problems


class _Unreadable(Exception):
    def __init__(self, rule: str, remedy: str, line: int = 0) -> None:
        super().__init__(rule)
        self.rule, self.remedy, self.line = rule, remedy, line


def _read_text(path: Path) -> str:
    try:
        if not path.is_file() and path.exists():
            raise _Unreadable("is not a regular file", "name a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        remedy = "name an existing file" if isinstance(exc, FileNotFoundError) else "let the daemon's user read it"
        raise _Unreadable(f"cannot be read: {exc.strerror}", remedy) from None
    except ValueError:
        raise _Unreadable("is not a file name", "name a YAML file") from None
    if len(data) > MAX_BYTES:
        raise _Unreadable(f"is larger than {MAX_BYTES // 1024} KiB", "a configuration is short: is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise _Unreadable("is not UTF-8 text", "save it as UTF-8", line) from None


class _Tree:
    """From parser events to nodes; collects what is refused and goes on where it can."""

    def __init__(self, text: str, path: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._text = text
        self._path = path
        self._problems: list[ConfigProblem] = []

    def read(self) -> tuple[Node, list[ConfigProblem]]:
        """The one document's root. Raises `_Unreadable` when there is no way to go on."""
        root: Node = Scalar(None, 1)
        documents = 0
        try:
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise _Unreadable(
                            "holds more than one document", "remove everything from the second `---` on", _line(event)
                        )
                    root = self._node(next(self._events), 0)
        except yaml.YAMLError as exc:
            raise self._syntax_error(exc) from None
        return root, self._problems

    def _syntax_error(self, exc: yaml.YAMLError) -> _Unreadable:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        if mark is not None:
            what = getattr(exc, "problem", None) or getattr(exc, "context", None) or "syntax error"
            return _Unreadable(f"is not YAML: {what}", f"look at column {mark.column + 1}", mark.line + 1)
        position = getattr(exc, "position", 0)
        return _Unreadable("holds a control character", "remove it", self._text.count("\n", 0, position) + 1)

    def _refuse(self, event: yaml.Event, rule: str, remedy: str) -> None:
        self._problems.append(ConfigProblem("config", None, rule, remedy, f"{self._path}:{_line(event)}"))

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Unreadable(f"is nested deeper than {MAX_DEPTH} levels", "no key is that deep", _line(event))
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"the alias *{anchor} is refused", "write the value out")
            return Scalar(None, _line(event))
        if anchor:
            self._refuse(event, f"the anchor &{anchor} is refused", "remove it: aliases are not followed")
        if tag:
            self._refuse(event, f"the tag {tag} is refused", "write the plain value")
        if isinstance(event, yaml.ScalarEvent):
            null = event.style is None and event.value in _NULLS
            return Scalar(None if null else event.value, _line(event))
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(child, depth + 1))
            return Many(items, _line(event))
        return self._mapping(event, depth)

    def _mapping(self, start: yaml.Event, depth: int) -> Mapped:
        entries: list[tuple[str, int, Node]] = []
        seen: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar) or key.text is None:
                self._refuse(event, "a key is a list, a mapping or empty", "keys are words")
                continue
            if key.text in seen:
                self._refuse(event, f"the key {key.text!r} stands here twice", f"remove one: the other is in line {seen[key.text]}")
                continue
            seen[key.text] = key.line
            entries.append((key.text, key.line, value))
        return Mapped(entries, _line(start))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Walk:
    """From nodes to settings, by the table of keys."""

    def __init__(self, path: str, problems: list[ConfigProblem]) -> None:
        self._path = path
        self._problems = problems
        self.settings: Settings = {}

    def mapping(self, node: Mapped, section: str) -> None:
        for name, line, value in node.entries:
            path = f"{section}.{name}" if section else name
            origin = f"{self._path}:{line}"
            if path == SWITCHABLE and isinstance(value, Scalar) and value.text is not None:
                self.settings[f"{path}.path"] = Setting((Item(value.text, origin),), origin)
            elif path in SECTIONS:
                self._section(path, value, origin)
            elif path not in BY_PATH:
                self._problems.append(unknown_key(path, origin))
            elif BY_PATH[path].kind in LISTS:
                self._list(path, value, origin)
            elif isinstance(value, Scalar) and value.text is not None:
                self.settings[path] = Setting((Item(value.text, origin),), origin)
            else:
                self._wrong(path, origin, value, "one plain value is needed", f"default: {BY_PATH[path].default}")

    def _section(self, path: str, value: Node, origin: str) -> None:
        if isinstance(value, Mapped):
            self.mapping(value, path)
        elif not (isinstance(value, Scalar) and value.text is None):
            inside = sorted(k.removeprefix(path + ".") for k in {*BY_PATH, *SECTIONS} if k.startswith(path + "."))
            self._wrong(path, origin, value, "a mapping is needed", "write the keys below it: " + ", ".join(inside))

    def _list(self, path: str, value: Node, origin: str) -> None:
        if not isinstance(value, Many):
            self._wrong(path, origin, value, "a list is needed", "write one `- ` line for each")
            return
        items = []
        for entry in value.items:
            at = f"{self._path}:{entry.line}"
            found = self._election(entry, at) if BY_PATH[path].kind is Kind.ELECTIONS else entry
            if isinstance(found, Scalar) and found.text is not None:
                items.append(Item(found.text, at))
            elif found is not None:
                self._wrong(path, at, found, "each entry is one plain value", "write one `- ` line for each")
        self.settings[path] = Setting(tuple(items), origin)

    def _election(self, entry: Node, origin: str) -> Node | None:
        """The node of the election's name; `None` once a problem is noted."""
        if isinstance(entry, Scalar) and entry.text is not None:
            self._wrong("elections", origin, entry, "an election is a mapping", f"write `- name: {entry.text[:63]}`")
            return None
        if not isinstance(entry, Mapped):
            self._wrong("elections", origin, entry, "an election is a mapping", "write `- name: daily-report`")
            return None
        name: Node | None = None
        for key, line, value in entry.entries:
            if key == "name":
                name = value
            else:
                remedy = "an election has the key name only"
                self._problems.append(ConfigProblem(f"elections.{key}", None, "unknown key", remedy, f"{self._path}:{line}"))
        if name is None:
            self._wrong("elections", origin, entry, "an election needs its name", "write `- name: daily-report`")
        return name

    def _wrong(self, path: str, origin: str, value: Node, rule: str, remedy: str) -> None:
        if isinstance(value, Scalar):
            found = "nothing" if value.text is None else "a word"
        else:
            found = "a list" if isinstance(value, Many) else "a mapping"
        text = value.text if isinstance(value, Scalar) and not is_secret_name(path) else None
        self._problems.append(ConfigProblem(path, text, f"{rule}, not {found}", remedy, origin))
