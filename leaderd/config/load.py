"""From the three sources to a `Config`, or to the list of all problems."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from leaderd.config.durations import format_duration
from leaderd.config.keys import BY_PATH, KEYS, LISTS, Kind
from leaderd.config.model import (
    DEFAULT_ORIGIN,
    Config,
    ElectionConfig,
    GrpcListener,
    HostPort,
    HttpConfig,
    Listen,
    LogConfig,
    Operators,
    SocketListener,
    StoreConfig,
    TracingConfig,
)
from leaderd.config.paths import GRPC_SOCKET_NAME, SOCKET_NAME, default_store_dir, runtime_dir
from leaderd.config.problems import ConfigProblem
from leaderd.config.relations import Defaults, check_listen, check_store, check_timing, make_timing, timing_warnings
from leaderd.config.sources import Item, Setting, Settings, from_environment, from_flags
from leaderd.config.values import DEFAULT_PLACE, Off, read_value, shown
from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls

T = TypeVar("T")
Flags = Mapping[str, str | Sequence[str]]
_DRIVER = {"zookeeper": ("kazoo", "zookeeper"), "etcd": ("grpc", "etcd")}


def load(file: str | None, environ: Mapping[str, str], flags: Flags) -> Config | list[ConfigProblem]:
    """Read everything; `file` is `--config`, else `LEADERD_CONFIG`, else there is none. Never raises for bad input.

    `flags` maps key paths (`timing.ttl`) to text. Called again on SIGHUP.
    """
    settings, problems = _settings_of_file(file or environ.get("LEADERD_CONFIG"))
    from_env, env_problems, warnings = from_environment(environ)
    settings |= from_env
    settings |= from_flags(flags)
    return _Loader(settings, problems + env_problems, warnings, environ).config()


def _settings_of_file(path: str | None) -> tuple[Settings, list[ConfigProblem]]:
    if not path:
        return {}, []
    # Imported here: without a file there is no need for a YAML parser in memory.
    from leaderd.config.yaml_file import read_file

    return read_file(path)


class _Loader:
    """Reads each key, then asks for the relations between them; collects problems all the way."""

    def __init__(self, settings: Settings, problems: list[ConfigProblem], warnings: list[str], environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._problems = problems
        self._warnings = warnings
        self._environ = environ
        self._broken = {problem.key for problem in problems}
        self._values: dict[str, list[object]] = {}
        for path, setting in settings.items():
            self._values[path] = [value for item in setting.items if (value := self._read(path, item)) is not None]

    def config(self) -> Config | list[ConfigProblem]:
        """The configuration, or every problem with it."""
        instance = self._instance()
        store = self._store()
        timing = self._timing(store)
        elections = self._elections()
        listen = self._listen()
        hooks = self._hooks()
        tracing = self._tracing()
        if self._problems or instance is None or store is None:
            return _unique(self._problems)
        return Config(
            instance=instance,
            instance_uid=self._one("instance_uid", str),
            store=store,
            timing=timing,
            elections=tuple(ElectionConfig(name) for name in elections),
            listen=listen,
            log=LogConfig(self._one("log.format", str) or "auto", self._one("log.level", str) or "info"),
            http=HttpConfig(tuple(self._many("http.hosts", str))),
            operators=Operators(tuple(self._many("operators.uids", int))),
            runtime_dir=Path(runtime_dir(self._environ)).absolute(),
            tracing=tracing,
            hooks=hooks,
            warnings=tuple(self._warnings),
            shown=self._shown(instance, store, timing, listen),
        )

    def _read(self, path: str, item: Item) -> object | None:
        value = read_value(BY_PATH[path], item)
        if isinstance(value, ConfigProblem):
            self._problems.append(value)
            self._broken.add(path)
            return None
        return value

    def _one(self, path: str, kind: type[T]) -> T | None:
        found = self._values.get(path)
        if not found:
            return None
        assert isinstance(found[0], kind), path
        return found[0]

    def _many(self, path: str, kind: type[T]) -> list[T]:
        return [value for value in self._values.get(path, []) if isinstance(value, kind)]

    def _refuse(self, path: str, rule: str, remedy: str) -> None:
        setting = self._settings.get(path)
        origin = setting.origin if setting else DEFAULT_ORIGIN
        self._problems.append(ConfigProblem(path, self._text(path, setting), rule, remedy, origin))

    def _text(self, path: str, setting: Setting | None) -> str | None:
        if setting is None:
            return BY_PATH[path].default
        return ", ".join(shown(BY_PATH[path], item.text) for item in setting.items) or None

    def _instance(self) -> str | None:
        if "instance" in self._settings:
            return self._one("instance", str)
        self._settings["instance"] = Setting((Item(os.uname().nodename, "host name"),), "host name")
        value = self._read("instance", self._settings["instance"].items[0])
        return value if isinstance(value, str) else None

    def _store(self) -> StoreConfig | None:
        defaulted = "store.url" not in self._settings and "store.url" not in self._broken
        url = (
            self._default_url()
            if defaulted
            else self._settings["store.url"].items[0].text
            if "store.url" in self._settings
            else None
        )
        if url is None:
            return None
        address = self._one("store.url", StoreAddress)
        if defaulted:
            read = self._read("store.url", Item(url, DEFAULT_ORIGIN))
            address = read if isinstance(read, StoreAddress) else None
        if address is None:
            return None
        tls = Tls(*(self._one(f"store.tls.{name}", Path) for name in ("ca_file", "cert_file", "key_file")))
        credentials = Credentials(
            self._one("store.auth.username", str),
            self._one("store.auth.password_file", Path),
            self._one("store.auth.token_file", Path),
        )
        store = StoreConfig(url, address, tls, credentials, defaulted)
        if not any(path in BY_PATH and path.startswith(("store.tls.", "store.auth.")) for path in self._broken):
            self._warnings += check_store(store, self._refuse)
        module, extra = _DRIVER.get(address.kind, ("sqlite3", "local"))
        if importlib.util.find_spec(module) is None:
            self._refuse("store.url", f"the package for {address.kind} is not installed", f"pip install 'leaderd[{extra}]'")
        return store

    def _default_url(self) -> str | None:
        if self._environ.get("KUBERNETES_SERVICE_HOST"):
            self._refuse(
                "store.url",
                "is not set, and in a Kubernetes pod the local store would let every pod lead",
                "name a store the pods share, or local:///directory if one pod is all there is",
            )
            return None
        directory = default_store_dir(self._environ)
        if directory is None:
            self._refuse(
                "store.url",
                "is not set, and no directory for the local store can be written",
                "write local:///directory, or name a store",
            )
            return None
        self._warnings.append(
            f"store.url is not set: the local store in {directory} protects this one host, and who can use that directory"
        )
        return "local://" + quote(directory)

    def _timing(self, store: StoreConfig | None) -> Timing:
        read = {name: self._one(f"timing.{name}", float) for name in ("ttl", "renew_every", "promise", "margin", "clock_drift")}
        drift = read["clock_drift"]
        base = Timing(step_down_on_suspend=self._one("timing.on_suspend", str) == "step_down")
        if drift is not None:
            base = Timing(drift=drift, step_down_on_suspend=base.step_down_on_suspend)
        ttl_s = base.ttl_s if read["ttl"] is None else read["ttl"]
        timing = make_timing(ttl_s, read["renew_every"], read["promise"], read["margin"], base)
        if store is not None and not any(path in BY_PATH and path.startswith("timing.") for path in self._broken):
            defaults = Defaults(read["renew_every"] is None, read["promise"] is None, read["margin"] is None)
            check_timing(store.address.kind, timing, defaults, self._refuse)
            self._warnings += timing_warnings(store.address.kind, timing)
        return timing

    def _elections(self) -> list[str]:
        names = self._many("elections", str)
        setting = self._settings.get("elections")
        seen: set[str] = set()
        for item in setting.items if setting else ():
            if item.text in seen:
                remedy = "remove one: a daemon stands once in each election"
                self._problems.append(ConfigProblem("elections", item.text, "stands here twice", remedy, item.origin))
            seen.add(item.text)
        if not names and not any(path.startswith("elections") or path == "config" for path in self._broken):
            self._refuse(
                "elections",
                "there is no election to stand in",
                "give --election NAME, LEADERD_ELECTIONS or `elections: [{name: ...}]`",
            )
        return names

    def _hooks(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for name in ("on_acquire", "on_lose", "on_change"):
            path = f"hooks.{name}"
            if path not in self._settings or path in self._broken or not self._settings[path].items:
                continue
            from leaderd.hooks import HookError, parse_hook  # here, because few have hooks

            found[name] = tuple(self._many(path, str))
            try:
                parse_hook(found[name])
            except HookError as error:
                rule, _, remedy = str(error).partition("; ")
                self._refuse(path, rule, remedy)
        return found

    def _tracing(self) -> TracingConfig:
        export = self._one("tracing.export", str) or "off"
        if export == "otlp" and not _has_opentelemetry():
            self._refuse("tracing.export", "the packages for OpenTelemetry are not installed", "pip install 'leaderd[otel]'")
        return TracingConfig(export)

    def _listen(self) -> Listen:
        http = self._listener("listen.http", HostPort("127.0.0.1", 4040))
        ops = self._listener("listen.ops", HostPort("0.0.0.0", 4041))
        path = (self._values.get("listen.socket.path") or [None])[0]
        if path is None and "listen.socket.path" not in self._settings:
            self._settings["listen.socket.path"] = Setting(
                (Item(f"{runtime_dir(self._environ)}/{SOCKET_NAME}", DEFAULT_ORIGIN),), DEFAULT_ORIGIN
            )
            path = self._read("listen.socket.path", self._settings["listen.socket.path"].items[0])
        socket = self._socket(path) if isinstance(path, Path) else None
        listen = Listen(http, ops, socket, self._grpc())
        self._warnings += check_listen(listen, self._refuse)
        return listen

    def _socket(self, path: Path) -> SocketListener:
        mode = self._one("listen.socket.mode", int)
        return SocketListener(path, 0o660 if mode is None else mode, self._one("listen.socket.group", int))

    def _grpc(self) -> GrpcListener | None:
        found = (self._values.get("listen.grpc") or [None])[0]
        files = [self._one(f"grpc.tls.{name}", Path) for name in ("cert_file", "key_file", "client_ca_file")]
        if not isinstance(found, HostPort | Path):
            return None
        if importlib.util.find_spec("grpc") is None or importlib.util.find_spec("google.protobuf") is None:
            self._refuse("listen.grpc", "the packages for gRPC are not installed", "pip install 'leaderd[grpc]'")
        if found == DEFAULT_PLACE:
            found = Path(runtime_dir(self._environ)).absolute() / GRPC_SOCKET_NAME
        return GrpcListener(found if isinstance(found, HostPort) else self._socket(found), *files)

    def _listener(self, path: str, default: HostPort) -> HostPort | None:
        found = (self._values.get(path) or [default])[0]
        return None if isinstance(found, Off) else found if isinstance(found, HostPort) else default

    def _shown(self, instance: str, store: StoreConfig, timing: Timing, listen: Listen) -> dict[str, tuple[str, str]]:
        worked_out = {
            "instance": instance,
            "store.url": store.url,
            "timing.ttl": format_duration(timing.ttl_s),
            "timing.renew_every": format_duration(timing.renew_every_s),
            "timing.promise": format_duration(timing.promise_s),
            "timing.margin": format_duration(timing.margin_s),
            "timing.clock_drift": f"{timing.drift:g}",
            "listen.http": str(listen.http or "off"),
            "listen.ops": str(listen.ops or "off"),
            "listen.socket.path": str(listen.socket.path) if listen.socket else "off",
            "listen.grpc": str(listen.grpc or "off"),
        }
        lines = {}
        for key in KEYS:
            setting = self._settings.get(key.path)
            text = worked_out.get(key.path) or self._text(key.path, setting) or "none"
            if key.kind in LISTS and setting and key.kind is not Kind.ELECTIONS:
                text = ", ".join(str(value) for value in self._values[key.path]) or "none"
            lines[key.path] = (text, setting.origin if setting else DEFAULT_ORIGIN)
        return lines


def _has_opentelemetry() -> bool:
    try:
        names = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
        return all(importlib.util.find_spec(name) is not None for name in names)
    except ImportError:  # a parent of what is looked for is missing
        return False


def _unique(problems: list[ConfigProblem]) -> list[ConfigProblem]:
    """Each once, and those of the file in the order of its lines."""

    def place(problem: ConfigProblem) -> tuple[str, int]:
        source, _, line = problem.origin.rpartition(":")
        return (source, int(line)) if source and line.isdecimal() else (problem.origin, 0)

    return sorted(dict.fromkeys(problems), key=place)
