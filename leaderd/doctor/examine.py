"""The whole check-up: the store's own file, imported only when needed, and what all stores have in common."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from leaderd.doctor.common import check_certificates, check_clock, check_skew
from leaderd.doctor.findings import Finding, Patient, Report

LIMIT_S = 30.0
"""Longer than all bounds together; nothing hangs."""


async def examine(patient: Patient) -> Report:
    """Everything there is to find. Raises `ModuleNotFoundError` when the store's client library is not installed."""
    wall_before_s, boot_before_s = patient.wall_s(), patient.now_s()
    report = Report()
    try:
        async with asyncio.timeout(LIMIT_S):
            await _store(patient, report)
            report.findings += await check_certificates(patient) + await check_skew(patient)
    except TimeoutError:
        report.findings.append(
            Finding(
                "time",
                patient.address.kind,
                f"the check-up was given up after {LIMIT_S:g} s",
                "what is said here may not be all there is to say",
                "see to the endpoints that do not answer first, then run it again",
            )
        )
    jumped_s = (patient.wall_s() - wall_before_s) - (patient.now_s() - boot_before_s)
    report.findings += check_clock(patient.timing.drift, jumped_s)
    report.findings = sorted(_together(report.findings), key=lambda found: found.note)
    return report


def _together(findings: list[Finding]) -> list[Finding]:
    """What was found in several places, said once."""
    places: dict[Finding, list[str]] = {}
    for found in findings:
        places.setdefault(replace(found, where=""), []).append(found.where)
    return [replace(found, where=", ".join(dict.fromkeys(where))) for found, where in places.items()]


async def _store(patient: Patient, report: Report) -> None:
    match patient.address.kind:
        case "etcd":
            from leaderd.doctor import etcd

            await etcd.examine(patient, report)
        case "zookeeper":
            from leaderd.doctor import zookeeper

            await zookeeper.examine(patient, report)
        case "consul":
            from leaderd.doctor import consul

            await consul.examine(patient, report)
        case "local":
            from leaderd.doctor import local

            await local.examine(patient, report)
        case other:
            raise ValueError(f"no check-up for store kind {other!r}")
