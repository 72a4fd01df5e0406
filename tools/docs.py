"""Writes what is made from other files, in docs/ and in the chart: `python -m tools.docs`. A test checks that it is current."""

from __future__ import annotations

import json
from pathlib import Path

from chaos import scenario
from leaderd.config.keys import KEYS, OTHER_ENV
from leaderd.config.schema import json_schema
from tools.reference import endpoints_page, metrics_page, reasons_page, timings_page

ROOT = Path(__file__).parent.parent
CHART_SCHEMA = "deploy/helm/leaderd/values.schema.json"
POD_LABEL = "deploy/kubernetes/components/leader-label/pod_label.py"

_CONFIGURATION = """\
# Configuration

<!-- Written by `python -m tools.docs` from leaderd/config/keys.py: change it there. -->

A YAML file (`--config FILE` or `LEADERD_CONFIG`) < environment < flags. `leaderd config check` lists every problem at once, each
with the key, where its value comes from, the rule and the remedy; `leaderd config show` prints every value with its origin, secrets
redacted; `leaderd config schema` prints a JSON schema for editors.

Durations are written `500ms`, `10s`, `2m`, `1h`. Secrets come only from files (`*_file`), which others must not be able to read.
An unknown key is refused, so a slip cannot go unnoticed. `SIGHUP` reads everything anew: the log level and format change at once,
for everything else the log says that it needs a restart. TLS and credential files are read at each new connection to the store.

| key, variable, flag | default | meaning |
|---|---|---|
{rows}

Two more variables: {others}.

## Timings that hold together

- `renew_every` must fit three times into `ttl`.
- A renewal is good for `(what the store keeps of the ttl) x (1 - clock_drift) - margin`, counted from its send; see
  [how-it-works.md](how-it-works.md) for what each store keeps. Timings that leave nothing of it are refused.
- `ttl` is what is *asked for*; what the store grants (ZooKeeper clips it to 2 to 20 ticks, etcd rounds up) is what
  counts at run time.
"""


def configuration() -> str:
    """docs/configuration.md."""
    rows = []
    for key in KEYS:
        names = "<br>".join(f"`{name}`" for name in (key.path, key.env, key.flag) if name is not None)
        choices = f" ({', '.join(f'`{choice}`' for choice in key.choices)})" if key.choices else ""
        rows.append(f"| {names} | {key.default} | {key.meaning}{choices} |")
    others = ", ".join(f"`{name}`" for name in sorted(OTHER_ENV))
    return _CONFIGURATION.format(rows="\n".join(rows), others=others)


def chart_schema() -> str:
    """The chart's schema; its `config` is leaderd's own, with what a pod has no other place for made mandatory."""
    chart = json.loads((ROOT / CHART_SCHEMA).read_text(encoding="utf-8"))
    config = {key: value for key, value in json_schema().items() if key != "$schema"}
    chart["properties"]["config"] = config | {"type": "object", "required": ["store", "elections"]}
    return json.dumps(chart, indent=2) + "\n"


def pod_label() -> str:
    """The leader label's hook in the chart: Helm reads no file outside of it, and a link would not survive every checkout."""
    return (ROOT / POD_LABEL).read_text(encoding="utf-8")


def scenario_schema() -> str:
    """The schema of the chaos suite's scenario files."""
    return json.dumps(scenario.schema(), indent=2) + "\n"


GENERATED = {
    "chaos/scenarios/schema.json": scenario_schema,
    "docs/configuration.md": configuration,
    "docs/endpoints.md": endpoints_page,
    "docs/metrics.md": metrics_page,
    "docs/reasons.md": reasons_page,
    "docs/timings.md": timings_page,
    CHART_SCHEMA: chart_schema,
    "deploy/helm/leaderd/files/pod_label.py": pod_label,
}


def main() -> None:
    """Write every file that is made from others."""
    for name, render in GENERATED.items():
        (ROOT / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
