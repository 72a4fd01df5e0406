"""`leaderd-chaos`: what one types, and the exit codes: 0 pass, 1 fail, 2 unknown, 254 usage, 255 the harness itself."""

from __future__ import annotations

import argparse
import json
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos import attached, catalogue, compare, explore, history, judge, keep, leftovers, record, running, scenario, verdicts
from chaos.bed import NoSuchRole
from chaos.report import page, results, summary
from chaos.running import SUBSTRATES
from chaos.runs import LeftBroken, RunList
from chaos.stores import KINDS
from chaos.subjects import PEERS
from chaos.substrates import CannotInject
from chaos.substrates.attach import RollbackError
from testbed.fetch import FetchError
from testbed.process import StartError, WaitTimeout

EXIT_USAGE, EXIT_HARNESS = 254, 255
RUNS = "chaos-runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as leaving:
        return EXIT_USAGE if leaving.code else 0
    try:
        return int(options.do(options))
    except scenario.ScenarioError as error:
        print(f"leaderd-chaos: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        sys.stdout = None  # whoever read us has seen enough; nothing is left to be flushed into the pipe
        return EXIT_HARNESS
    except (OSError, ValueError, FetchError, StartError, WaitTimeout, CannotInject, NoSuchRole, RollbackError, LeftBroken) as error:
        print(f"leaderd-chaos: {error}", file=sys.stderr)
        return EXIT_HARNESS
    except KeyboardInterrupt:
        print("leaderd-chaos: interrupted; what was broken is healed. `run --resume` goes on from here", file=sys.stderr)
        return EXIT_HARNESS


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(scenario.schema(), indent=2))
    return 0


def _explore(options: argparse.Namespace) -> int:
    """Scenarios composed at random; the file of each that does not pass stays, to be run again."""
    listed = RunList(Path(options.out))
    seeds = range(options.seed, options.seed + options.runs)
    jobs = explore.prepare(listed.out, seeds, options.store, options.substrate, print)
    listed.begin(jobs)
    found = running.carry_out(jobs, listed, at_once=options.jobs)
    print("\n".join(explore.tell(jobs, listed)))
    return running.exit_code(found)


def _compare(options: argparse.Namespace) -> int:
    """Exit 0 whatever the peers do, 1 if leaderd fails."""
    scenario.load(options.scenario)
    jobs = compare.jobs(options.scenario, options.subject, options.repeat)
    listed = RunList(Path(options.out))
    listed.out.mkdir(parents=True, exist_ok=True)
    listed.begin(jobs)
    running.carry_out(jobs, listed)
    print(compare.table(compare.rows(options.scenario, results.results(listed.out))))
    return running.exit_code([done.verdict for done in listed.done(since_last=True) if done.job.subject == "leaderd"])


def _check(options: argparse.Namespace) -> int:
    return running.EXIT[verdicts.judged(Path(options.folder), print)]


def _report(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    if (folder / history.FILE).exists():
        verdicts.judged(folder, lambda line: None)
        path = folder / page.FILE
    elif results.results(folder):
        path = summary.write(folder)
    else:
        raise scenario.ScenarioError(f"{folder} is neither a run's folder nor one of judged runs: `run --out` makes them")
    print(path)
    if options.open and not webbrowser.open(path.absolute().as_uri()):
        print("leaderd-chaos: no browser is to be had here; open that file", file=sys.stderr)
    return 0


def _record(options: argparse.Namespace) -> int:
    """Write the figures of passes into the track record, or show them."""
    found = record.read([Path(each) for each in options.folders])
    if options.dry_run:
        print(record.section(found))
        return 0
    print(record.write(Path(options.into), found))
    return 0


def _diff(options: argparse.Namespace) -> int:
    worse, lines = verdicts.diff(Path(options.before), Path(options.after))
    print("\n".join(lines))
    return running.EXIT[judge.FAIL] if worse else 0


def _clean(options: argparse.Namespace) -> int:
    leftovers.remove(Path(options.out), lambda path: print(f"removed {path}"))
    return 0


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def _stores(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(text.split(",")))
    unknown = [each for each in found if each not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: no store; they are {', '.join(KINDS)}")
    return found


Add = Callable[[str, object, str], argparse.ArgumentParser]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leaderd-chaos", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    listing = command("list", catalogue.listing, "the catalogue: what each scenario takes, runs on and needs")
    listing.add_argument("--why", action="store_true", help="what each is for, too")
    command("schema", _schema, "the JSON schema of a scenario file")
    _out(command("doctor", catalogue.doctor, "what this machine can do"))
    _running_parsers(command)
    _attach_parsers(command)
    inside = commands.add_parser("inside")
    inside.add_argument("folder")
    inside.set_defaults(do=running.inside)
    _judging_parsers(command)
    _out(command("clean", _clean, "remove what killed runs left behind"))
    return parser


def _out(added: argparse.ArgumentParser) -> None:
    added.add_argument("--out", default=RUNS, help="where run folders are (default: %(default)s)")


def _where(added: argparse.ArgumentParser, *, stores: str) -> None:
    added.add_argument("--store", type=_stores, default=(), metavar="A,B", help=f"default: {stores}")
    added.add_argument("--substrate", choices=SUBSTRATES, default="netns", help="default: %(default)s")


def _jobs(added: argparse.ArgumentParser) -> None:
    added.add_argument("--jobs", type=_at_least_one, default=1, metavar="N", help="so many runs at a time (default: 1)")


def _running_parsers(command: Add) -> None:
    run = command("run", running.command, "run a scenario, or all of them")
    run.add_argument("scenario", nargs="?", help="a name of the catalogue, or a path that ends in .yaml")
    run.add_argument("--all", action="store_true", help="the whole catalogue")
    run.add_argument("--smoke", action="store_true", help="the few that run at every change")
    _where(run, stores="every store of the scenario")
    run.add_argument("--subject", choices=["leaderd", *PEERS], default="leaderd", help="default: %(default)s")
    run.add_argument("--seed", type=int, default=0, help="puts faults off by up to a third of the ttl; 0: not at all")
    run.add_argument("--repeat", type=_at_least_one, default=1, metavar="N", help="N times, with seeds SEED, SEED+1, ...")
    run.add_argument(
        "--var", action="append", default=[], metavar="NAME=VALUE", help="another value in the topology or the workload"
    )
    _jobs(run)
    run.add_argument("--dry-run", action="store_true", help="say what would be done")
    run.add_argument("--fail-fast", action="store_true", help="begin none after one that did not pass")
    run.add_argument("--resume", action="store_true", help="only what has no verdict in --out yet; alone: the last list")
    _out(run)
    exploring = command("explore", _explore, "scenarios composed at random, each from a seed; what fails stays as a scenario file")
    exploring.add_argument("--seed", type=int, default=1, help="the first one (default: %(default)s)")
    exploring.add_argument("--runs", type=_at_least_one, default=1, metavar="N", help="how many seeds (default: %(default)s)")
    _where(exploring, stores="all of them")
    _jobs(exploring)
    _out(exploring)
    comparing = command("compare", _compare, "leaderd and the tools used today, in one scenario")
    comparing.add_argument("scenario")
    comparing.add_argument(
        "--subject", action="append", choices=["leaderd", *PEERS], default=[], help="only this one; may be repeated; default: all"
    )
    comparing.add_argument("--repeat", type=_at_least_one, default=1, metavar="N", help="N runs of each, and their medians")
    _out(comparing)


def _judging_parsers(command: Add) -> None:
    command("check", _check, "judge a run again by its history").add_argument("folder")
    reporting = command("report", _report, "write the report of a run, or the index over a folder of runs")
    reporting.add_argument("folder")
    reporting.add_argument("--open", action="store_true", help="show it in a browser")
    differing = command("diff", _diff, "two runs side by side; exit 1 if a check is worse in the second")
    differing.add_argument("before")
    differing.add_argument("after")
    keeping = command("keep", keep.command, "make a run that went wrong a scenario of the catalogue")
    keeping.add_argument("folder", help="the run's folder")
    keeping.add_argument("name", help="of the incident")
    keeping.add_argument("--why", default="", help="what went wrong, in a sentence or two")
    keeping.add_argument("--into", default=str(keep.PLACE), help="default: %(default)s")
    recording = command("record", _record, "write the figures of passes into the track record")
    recording.add_argument("folders", nargs="+", metavar="OUT", help="an output folder, or its results.json")
    recording.add_argument("--into", default=str(record.FILE), help="default: %(default)s")
    recording.add_argument("--dry-run", action="store_true", help="show what would be written")


def _attach_parsers(command: Add) -> None:
    attaching = command("attach", attached.command, "a scenario on a cluster of your own, by your own commands; undone in any case")
    attaching.add_argument("targets", help="the file that tells the instances and what may be done to them")
    attaching.add_argument("scenario")
    attaching.add_argument(
        "--allow", action="append", default=[], metavar="HOST", help="each host that may be touched; refused without"
    )
    attaching.add_argument("--dry-run", action="store_true", help="say what would be run where")
    attaching.add_argument("--seed", type=int, default=0, help="puts faults off by up to a third of the ttl; 0: not at all")
    attaching.add_argument("--repeat", type=_at_least_one, default=1, metavar="N", help="N times, with seeds SEED, SEED+1, ...")
    attaching.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="another value in the workload")
    _out(attaching)
    command("rollback", attached.rollback, "undo what an attached run that was killed has left broken").add_argument("folder")
