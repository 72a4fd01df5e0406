"""Everything beside `/is-leader`: elections, probes, the leader-elector's `/`, version, OpenAPI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderd import __version__
from leaderd.election.problems import Reason
from leaderd.election.state import Term
from leaderd.surfaces.http import Health
from leaderd.surfaces.http.openapi import document
from tests.surfaces.rig import US, Rig, following, leading, snapshot, surfaces

# ---- /v1/elections


async def test_the_particulars_of_a_reason(leader: Rig) -> None:
    detail = "no right to write below /jobs"
    leader.board.publish(snapshot(following(reason=Reason.PERMISSION_DENIED, detail=detail)))
    assert (await leader.ask("/v1/elections/daily-report")).json["detail"] == detail


async def test_overview(two: Rig) -> None:
    found = (await two.ask("/v1/elections", "socket")).json
    assert list(found) == ["instance", "instance_uid", "incarnation", "store", "elections"]
    assert (found["instance"], found["instance_uid"], found["incarnation"]) == (US, "uid-1", "f00d")
    assert found["store"] == {"kind": "etcd", "connected": True, "last_seen_ms": 412}
    ours, theirs = found["elections"]
    answer = (await two.ask("/is-leader/daily-report?promise=0")).json
    assert answer.items() <= ours.items()
    assert set(ours) - set(answer) == {"detail", "pause", "candidates", "timing"}
    assert (ours["pause"], theirs["pause"], ours["detail"]) == (None, None, None)
    assert (ours["valid_for_ms"], ours["lease_remaining_ms"]) == (0, 7312)
    assert ours["candidates"] == [
        {"instance": US, "token": 42, "leader": True, "own": True},
        {"instance": "pod-b", "token": 43, "leader": False, "own": False},
    ]
    # etcd keeps back 2 s of a ttl of 10 s; a hundredth goes to drift, half a second to the margin.
    assert ours["timing"] == {"ttl_s": 10.0, "renew_every_s": 2.0, "valid_for_max_s": 7.42, "promise_s": 1.0}
    assert theirs["candidates"] == [
        {"instance": "pod-b", "token": 41, "leader": True, "own": False},
        {"instance": US, "token": 42, "leader": False, "own": True},
    ]


async def test_one_election(two: Rig) -> None:
    found = (await two.ask("/v1/elections")).json["elections"]
    assert [(await two.ask(f"/v1/elections/{name}")).json for name in ("daily-report", "invoices")] == found


async def test_our_own_entry_leads_only_while_the_term_is_held(leader: Rig) -> None:
    leader.clock.boot_s = 108.0
    assert [c["leader"] for c in (await leader.ask("/v1/elections/daily-report")).json["candidates"]] == [False, False]


async def test_timings_without_a_session_are_the_configured_ones(tmp_path: Path) -> None:
    start = snapshot(following(), session_ttl_s=None, renewal_period_s=None, session_live=False, connected=False)
    async with surfaces(tmp_path, start) as rig:
        timing = (await rig.ask("/v1/elections/daily-report")).json["timing"]
        assert (timing["ttl_s"], timing["renew_every_s"]) == (10.0, 2.0)


@pytest.mark.parametrize("target", ["/v1/elections?x=1", "/v1/elections/daily-report?promise=1s", "/v1/version?x"])
async def test_parameters_where_there_are_none(leader: Rig, target: str) -> None:
    assert "unknown parameter" in (await leader.ask(target)).problem()["rule"]


# ---- the Kubernetes leader-elector's answer


async def test_root_names_the_leader(two: Rig) -> None:
    assert (await two.ask("/?election=invoices")).json["name"] == "pod-b"
    assert two.promised("invoices") == []
    reply = await two.ask("/?election=daily-report")
    assert reply.json == {"name": US, "last_update": "2026-11-23T07:00:00Z"}
    # An app that reads its own name takes it for a yes: so it is one.
    assert two.promised() == [101.0]


async def test_last_update_is_when_the_leader_changed(tmp_path: Path) -> None:
    async with surfaces(tmp_path, snapshot(following(leader=None, led=False))) as rig:
        assert (await rig.ask("/")).json == {"name": "", "last_update": None}
        rig.clock.boot_s = 130.0
        rig.board.publish(snapshot(following()))
        rig.clock.boot_s = 190.0
        rig.board.publish(snapshot(following(index=6)))
        assert (await rig.ask("/")).json == {"name": "pod-b", "last_update": "2026-11-23T07:00:30Z"}


# ---- probes


@pytest.mark.parametrize("listener", ["app", "ops", "socket"])
@pytest.mark.parametrize("probe", ["livez", "readyz", "startupz", "healthz"])
async def test_probes_pass(leader: Rig, listener: str, probe: str) -> None:
    reply = await leader.ask(f"/{probe}", listener)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"ok", "text/plain; charset=utf-8")
    assert (await leader.ask(f"/{probe}", listener, method="HEAD")).status == 200


async def test_verbose_and_exclude(leader: Rig) -> None:
    lines = (await leader.ask("/livez?verbose")).body.decode().splitlines()
    assert lines == ["[+]ping ok", "[+]runner ok", "[+]timer ok", "[+]deadlines ok", "livez check passed"]
    lines = (await leader.ask("/livez?verbose=true&exclude=timer&exclude=etcd")).body.decode().splitlines()
    assert "[+]timer excluded: ok" in lines
    assert "warn: some checks cannot be excluded: no match for etcd" in lines
    assert (await leader.ask("/livez?verbos")).status == 400
    assert (await leader.ask("/livez?verbose&verbose")).status == 400


async def test_readiness_depends_neither_on_leadership_nor_on_the_store(tmp_path: Path) -> None:
    start = snapshot(following(leader=None, led=False), connected=False, session_live=False, last_confirmed_s=None, draining=True)
    async with surfaces(tmp_path, start) as rig:
        for probe in ("livez", "readyz", "startupz"):
            assert (await rig.ask(f"/{probe}")).status == 200
        said = (await rig.ask("/readyz?verbose")).body.decode()
        assert "[+]store degraded (for information" in said
        assert "[+]draining" in said


async def test_a_timer_that_stays_overdue_is_wedged(tmp_path: Path) -> None:
    late_s = 0.0
    health = Health(late_s=lambda: late_s, limit_s=20.0)
    async with surfaces(tmp_path, snapshot(following()), health=health) as rig:
        late_s = 20.0
        assert (await rig.ask("/livez")).status == 200
        late_s = 20.1
        # The first look after a freeze may come before the first timer: not yet.
        assert (await rig.ask("/livez")).status == 200
        rig.clock.boot_s += 1.0
        reply = await rig.ask("/livez")
        assert reply.status == 503
        assert "[-]timer failed" in reply.body.decode()
        assert (await rig.ask("/livez?exclude=timer")).status == 200
        assert (await rig.ask("/healthz")).status == 503
        assert (await rig.ask("/readyz")).status == 200
        late_s = 0.0
        assert (await rig.ask("/livez")).status == 200
        late_s = 30.0
        assert (await rig.ask("/livez")).status == 200


async def test_a_term_left_on_the_board_long_after_its_deadline_is_wedged(leader: Rig) -> None:
    leader.clock.boot_s = 107.312 + 20.5
    assert (await leader.ask("/livez")).status == 200
    leader.clock.boot_s += 1.0
    assert b"[-]deadlines failed" in (await leader.ask("/livez")).body


async def test_start_up_and_crash(tmp_path: Path) -> None:
    started = crashed = False
    health = Health(late_s=lambda: 0.0, limit_s=20.0, crashed=lambda: crashed, started=lambda: started)
    async with surfaces(tmp_path, snapshot(following()), health=health) as rig:
        assert [(await rig.ask(f"/{probe}")).status for probe in ("startupz", "readyz", "livez")] == [503, 503, 200]
        started = True
        assert [(await rig.ask(f"/{probe}")).status for probe in ("startupz", "readyz", "livez")] == [200, 200, 200]
        crashed = True
        assert [(await rig.ask(f"/{probe}")).status for probe in ("startupz", "readyz", "livez")] == [200, 503, 503]


# ---- the rest


async def test_version(leader: Rig) -> None:
    found = (await leader.ask("/v1/version")).json
    assert (found["name"], found["version"], found["api"]) == ("leaderd", __version__, "v1")


@pytest.mark.parametrize(
    "path",
    ["/nope", "/is-leader/", "/is-leader/a/b", "/v1", "/v1/elections/", "//is-leader", "/../is-leader", "/IS-LEADER", "/livez/x"],
)
async def test_nothing_there(leader: Rig, path: str) -> None:
    reply = await leader.ask(path)
    assert reply.status == 404
    assert reply.problem()["detail"].startswith("nothing is at ")


async def test_a_long_path_is_not_repeated_in_full(leader: Rig) -> None:
    assert len((await leader.ask("/" + "x" * 5000)).body) < 400


async def test_openapi_tells_the_truth(two: Rig) -> None:
    found = (await two.ask("/openapi.json")).json
    assert found == document()
    assert found["openapi"].startswith("3.1")
    schemas = found["components"]["schemas"]
    for path, item in found["paths"].items():
        target = path.replace("{NAME}", "daily-report")
        target += "?election=daily-report" if path in {"/", "/is-leader"} else ""
        if "get" not in item:
            assert (await two.ask(target)).status == 405
            continue
        reply = await two.ask(target)
        described = item["get"]["responses"][str(reply.status)]["content"]
        kind = reply.headers["content-type"].split(";")[0]
        schema = described[kind]["schema"]
        if "$ref" in schema:
            check(reply.json, schema, schemas, path)
    no = (await two.ask("/is-leader/invoices")).json
    check(no, {"$ref": "#/components/schemas/Answer"}, schemas, "no")
    check((await two.ask("/nope")).json, {"$ref": "#/components/schemas/Problem"}, schemas, "problem")


async def test_openapi_lists_every_route_and_parameter(leader: Rig) -> None:
    paths = document()["paths"]
    routes = {name.replace("NAME", "{NAME}") for name in leader.surfaces.routes.names()}
    assert routes <= set(paths)
    known = (await leader.ask("/is-leader?x=1")).problem()["rule"].split(": ")[1].split(", ")
    assert {parameter["name"] for parameter in paths["/is-leader"]["parameters"]} == set(known)


def check(value: Any, schema: dict[str, Any], schemas: dict[str, Any], where: str) -> None:
    """Every field is described, every described one is there, each of the type it says."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
    names: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(isinstance(value, names[kind]) for kind in kinds), f"{where}: {value!r} is no {kinds}"
    if "enum" in schema:
        assert value in schema["enum"], where
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"]), where
        for name, inner in value.items():
            check(inner, schema["properties"][name], schemas, f"{where}.{name}")
    if isinstance(value, list):
        for inner in value:
            check(inner, schema["items"], schemas, f"{where}[]")


async def test_a_snapshot_with_a_doubted_term_is_no_yes_anywhere(leader: Rig) -> None:
    view = leader.board.snapshot.elections["daily-report"]
    doubted = replace(view, term=Term(42, 95.0, 107.0, doubted=True))
    leader.board.publish(replace(leader.board.snapshot, elections={"daily-report": doubted}))
    assert (await leader.ask("/is-leader")).status == 503
    assert (await leader.ask("/")).json["name"] == ""
    assert b'leaderd_is_leader{election="daily-report"} 0.0' in (await leader.ask("/metrics")).body
    assert leading().term is not None
