"""Runs in the validators' environment, which has Helm's own code (SDK 4): `lint` or `render` CHART, a JSON of values on stdin."""

import json
import sys

import helm_python
from helm_python import chart

action, path = sys.argv[1:]
values = json.load(sys.stdin)
try:
    if action == "lint":
        report = chart.lint(path, values, strict=True)
        # An icon is recommended; severity 1 is information.
        bad = [each for each in report["messages"] if each["severity"] > 1]
        sys.stdout.write(json.dumps({"linted": report["total_charts_linted"], "bad": bad, "errors": report["errors"]}))
    else:
        with chart.Chart.load(path) as loaded:
            loaded.validate_schema(values)
            sys.stdout.write(json.dumps(loaded.render(values, name="app", namespace="default")))
except helm_python.HelmError as refused:
    sys.exit(str(refused))
