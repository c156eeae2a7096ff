"""`oocana-async query`: prints what is known about a target without running it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from oocana_async.cli.failures import ExitCode, UsageError, say
from oocana_async.cli.option_values import node_list, writable_file
from oocana_async.cli.parser import CommandParser
from oocana_async.cli.target_argument import add_target

if TYPE_CHECKING:
    from oocana_async.cli.signals import Signals

__all__ = ["DESCRIPTION", "EPILOG", "HELP", "add_arguments", "run"]

HELP: Final = "ask something about a flow"
DESCRIPTION: Final = "Ask something about a flow."
EPILOG: Final = None

_QUERIES: Final = {
    "upstream": "which nodes would run if only --nodes were asked for",
    "inputs": "the inputs that the target declares, as JSON",
    "nodes-inputs": "the inputs of nodes that have no connection, as JSON",
    "package": "the packages that the nodes use",
    "service": "the services that the nodes use",
}


def add_arguments(parser: CommandParser) -> None:
    """Declare a command below this one for each query."""
    topics = parser.add_subparsers(dest="query", metavar="QUERY", required=True, parser_class=CommandParser)
    for name, text in _QUERIES.items():
        query = topics.add_parser(name, help=text, description=f"Print {text}.")
        query.set_defaults(parser=query)
        add_target(query, "a flow file or its directory" + (", or a task file" if name == "inputs" else ""))
        if name == "upstream":
            query.add_argument(
                "--nodes",
                metavar="A,B",
                type=node_list,
                required=True,
                help="the nodes that are asked for",
            )
            query.add_argument(
                "--use-cache", action="store_true", help="nodes whose values the last run left need nothing upstream"
            )
        if name in ("inputs", "nodes-inputs"):
            query.add_argument("--output", metavar="FILE", type=writable_file, help="write to a file instead")


def run(options: argparse.Namespace, signals: Signals) -> int:
    """Answer a query.

    Returns:
        0, or 2 when the target cannot be loaded.
    """
    from oocana_async.errors import LoadError

    try:
        _ANSWERS[options.query](options)
    except LoadError as error:
        say(str(error))
        return ExitCode.USAGE
    return ExitCode.SUCCESS


def _upstream(options: argparse.Namespace) -> None:
    from oocana_async.engine.inspection import query_upstream, upstream_lines

    cached = _cached(options) if options.use_cache else None
    selection = query_upstream(options.target, options.nodes, search_paths=options.search_paths, cached=cached)
    for node_id in selection.unknown:
        say(f'warning: the flow has no node "{node_id}"')
    _print_lines(upstream_lines(selection))


def _cached(options: argparse.Namespace) -> dict[str, set[str]]:
    """Return which inputs the last run left a value for."""
    from oocana_async.engine.cache import InputCache
    from oocana_async.engine.graph.graph import Graph
    from oocana_async.engine.target import load_target

    root = load_target(options.target, search_paths=options.search_paths).root
    if not isinstance(root, Graph):
        return {}
    return {node_id: set(values) for node_id, values in InputCache().load(root).items()}


def _inputs(options: argparse.Namespace) -> None:
    from oocana_async.engine.inspection import query_inputs

    _write_json(options, query_inputs(options.target, search_paths=options.search_paths))


def _nodes_inputs(options: argparse.Namespace) -> None:
    from oocana_async.engine.inspection import query_nodes_inputs

    _write_json(options, query_nodes_inputs(options.target, search_paths=options.search_paths))


def _package(options: argparse.Namespace) -> None:
    from oocana_async.engine.inspection import package_lines, query_packages

    _print_lines(package_lines(query_packages(options.target, search_paths=options.search_paths)))


def _service(options: argparse.Namespace) -> None:
    from oocana_async.engine.inspection import query_services

    _print_lines(str(service) for service in query_services(options.target, search_paths=options.search_paths))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _write_json(options: argparse.Namespace, data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False)
    if options.output is None:
        print(text)
        return
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: cannot write {options.output}: {error.strerror}") from error


_ANSWERS: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "upstream": _upstream,
    "inputs": _inputs,
    "nodes-inputs": _nodes_inputs,
    "package": _package,
    "service": _service,
}
