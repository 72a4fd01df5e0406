"""JUnit XML over many runs: a suite a store, a case a run."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from collections.abc import Sequence

from chaos.judge import FAIL, PASS
from chaos.report.results import Result, name


def junit(found: Sequence[Result]) -> bytes:
    """FAIL is a failure, UNKNOWN and BROKEN are errors: none of them is green."""
    root = xml.Element("testsuites", name="leaderd-chaos")
    for store in sorted({result["store"] for result in found}):
        ours = [result for result in found if result["store"] == store]
        words = [result["verdict"] for result in ours]
        suite = xml.SubElement(root, "testsuite", name=store, tests=str(len(ours)), failures=str(words.count(FAIL)))
        suite.set("errors", str(sum(word not in (PASS, FAIL) for word in words)))
        suite.set("time", f"{sum(result['took_s'] for result in ours):.1f}")
        for result in ours:
            case = xml.SubElement(suite, "testcase", classname=f"chaos.{store}.{result['subject']}", name=name(result))
            case.set("time", f"{result['took_s']:.1f}")
            if result["verdict"] != PASS:
                wrong = [check for check in result["checks"] if check["verdict"] == result["verdict"]]
                said = "; ".join(f"{check['name']}: {check['text']}" for check in wrong) or result["story"]
                bad = xml.SubElement(case, "failure" if result["verdict"] == FAIL else "error", message=_xml_text(said))
                bad.set("type", result["verdict"])
                bad.text = _xml_text(f"{result['story']}\n{result['folder']}")
    text: bytes = xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _xml_text(text: str) -> str:
    """Without the control characters that XML 1.0 cannot carry (its production 2, `Char`)."""
    return "".join(each for each in text if each in "\t\n" or " " <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd")
