"""The command: ``python -m benchmarks``, from the folder that holds this one.

NumPy is imported late, after the threads of its BLAS are settled.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine

OUTPUT = Path(__file__).parent / "output"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure minirnn, PyTorch in eager mode and the matrix products alone, in "
        "turns, on a ladder of networks; print the ratios. A full run takes some minutes, on a "
        "machine that should have nothing else to do.",
        epilog="A run that is not quick also writes benchmarks/output/times.json and times.png "
        "(with --memory: memory.json), unless --json or --chart name another file.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="networks (adder, tiny, characters, small, medium, large, step16, "
        "step, step256) and cells (rnn, "
        "lstm, gru) to measure; all of a kind if none of it is named",
    )
    parser.add_argument("--threads", type=int, default=1, help="of NumPy and PyTorch (default 1)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, few rounds: does it run? No figures"
    )
    parser.add_argument(
        "--memory", action="store_true", help="measure the peak memory of training, not times"
    )
    parser.add_argument(
        "--own-cells", action="store_true", help="measure cells of one's own, not the built-in ones"
    )
    parser.add_argument(
        "--jax", action="store_true", help="measure against JAX, compiled, in place of PyTorch"
    )
    parser.add_argument("--rounds", type=int, help="turns of each contestant (default 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios of the times")
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write. Returns the exit status; no time makes it other than 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads should be at least 1, got {options.threads}")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds should be at least 1, got {options.rounds}")
    with machine.limited(options.threads) as settled:
        if not settled:
            return machine.run_again(arguments, options.threads)
        from benchmarks.ladder import choose

        try:
            rungs, cells = choose(options.only)
        except ValueError as error:
            parser.error(f"--only: {error}")
        if options.jax or options.own_cells:
            _measure_others(options, rungs, cells)
            return 0
        document = _measure(options, rungs, cells)
    _show(options, document)
    return 0


def _settings(options: argparse.Namespace) -> Any:
    from benchmarks.timing import QUICK, Settings

    settings = QUICK if options.quick else Settings(rest=0.3 if options.threads > 1 else 0.0)
    return settings if options.rounds is None else replace(settings, rounds=options.rounds)


def _measure_others(options: argparse.Namespace, rungs: list[Any], cells: list[str]) -> None:
    from benchmarks import against_jax, own_cells
    from benchmarks.ladder import shrunk

    rungs = [shrunk(rung) for rung in rungs] if options.quick else rungs
    if options.jax:
        against_jax.measure(rungs, cells, options.threads, _settings(options))
    if options.own_cells:
        own_cells.measure(rungs, options.threads, _settings(options))


def _measure(options: argparse.Namespace, rungs: list[Any], cells: list[str]) -> dict[str, Any]:
    from benchmarks.memory import measure_memory
    from benchmarks.peers import find_torch, torch_threads
    from benchmarks.run import measure_all
    from minirnn import engine

    def say(line: str) -> None:
        print(f"measuring {line}", file=sys.stderr, flush=True)

    has_torch = find_torch() is not None
    # Importing PyTorch loads more libraries: limit those too.
    engine.use(threads=options.threads)
    with machine.limited(options.threads), torch_threads(options.threads):
        document = machine.describe(options.threads) | {"quick": options.quick}
        if options.memory:
            document["memory"] = measure_memory(
                rungs[:1] if options.quick else rungs,
                cells[:1] if options.quick else cells,
                threads=options.threads,
                small=options.quick,
                with_torch=has_torch,
                say=say,
            )
            return document
        settings = _settings(options)
        document["settings"] = {"rounds": settings.rounds, "seconds": settings.seconds}
        document["results"] = measure_all(rungs, cells, settings, small=options.quick, say=say)
    return document


def _show(options: argparse.Namespace, document: dict[str, Any]) -> None:
    from benchmarks.report import caption, memory_table, tables

    table = memory_table if options.memory else tables
    print(caption(document), table(document, markdown=options.markdown), sep="\n\n")
    json_file, chart_file = options.json, options.chart
    if not options.quick:
        OUTPUT.mkdir(exist_ok=True)
        json_file = json_file or OUTPUT / ("memory.json" if options.memory else "times.json")
        chart_file = chart_file or OUTPUT / "times.png"
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=1) + "\n")
        print(f"\nEverything measured is in {json_file.name}.", file=sys.stderr)
    if chart_file is not None and not options.memory:
        _draw(document, chart_file)


def _draw(document: dict[str, Any], path: Path) -> None:
    from benchmarks.chart import draw_chart

    try:
        draw_chart(document, path)
    except ImportError:
        print("No chart: matplotlib is not installed.", file=sys.stderr)
    else:
        print(f"The chart is in {path.name}.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
