"""Wrong command lines: exit code 2, and a text that names the option, what was wrong and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from oocana_async.cli import main
from oocana_async.cli.commands import COMMANDS, PROGRAMS

NAMES = ", ".join((*COMMANDS, *PROGRAMS))


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """Run a command line that must be refused and return what it says."""
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("oocana-async: ")
    return err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ((), "arguments are required: COMMAND"),
        (
            ("rnu", "x"),
            f'unknown command "rnu" (did you mean "run"?); expected one of {NAMES}',
        ),
        (("run",), "arguments are required: TARGET"),
        (("run", "x", "y"), 'unknown argument "y"'),
        (("run", "x", "--inptus", "{}"), 'unknown option "--inptus" (did you mean "--inputs"?)'),
        (("run", "x", "--inp", "{}"), 'unknown option "--inp"'),
        (
            ("run", "x", "--inputs", "[1]"),
            '--inputs: expected an object {"handle": value} in the given text, found a list',
        ),
        (("run", "x", "--inputs", '{"a": }'), "--inputs: not valid JSON at column 7"),
        (("run", "x", "--inputs", '{"a": NaN}'), "--inputs: the given text holds NaN, which is not JSON"),
        (("run", "x", "--inputs", "[" * 100_000), "--inputs: the given text is nested too deeply"),
        (
            ("run", "x", "--inputs", '{"a": ["\\ud800"]}'),
            "--inputs: the given text: input [a][0]: text has a lone surrogate at character 0",
        ),
        (
            ("run", "x", "--nodes-inputs", f'{{"n": {{"a": {"[" * 127}{"]" * 127}}}}}'),
            '--nodes-inputs: the given text: node "n", input [a]: nested deeper than 126 levels',
        ),
        (("run", "x", "--inputs", "9" * 5000), "--inputs: the given text: Exceeds the limit"),
        (("run", "x", "--inputs", "@nowhere.json"), "--inputs: cannot read nowhere.json: No such file or directory"),
        (
            ("run", "x", "--nodes-inputs", '{"n": 1}'),
            '--nodes-inputs: expected an object {"handle": value} for node "n"',
        ),
        (("run", "x", "--nodes-inputs", "null"), "--nodes-inputs: expected an object"),
        (("run", "x", "--nodes", "a,,b"), "--nodes: expected node ids separated by commas, found an empty one"),
        (("run", "x", "--max-threads", "0"), "--max-threads: expected a whole number above 0, found 0"),
        (("run", "x", "--max-threads", "-3"), "--max-threads: expected a whole number above 0, found -3"),
        (("run", "x", "--max-threads", "two"), '--max-threads: expected a whole number above 0, found "two"'),
        (("run", "x", "--search-paths", "nowhere"), "--search-paths: nowhere is not there"),
        (("run", "x", "--session", "a/b"), '--session: expected 1 to 200 characters without spaces, "/"'),
        (("run", "x", "--session-dir", ""), "--session-dir: expected a directory, found nothing"),
        (("run", "x", "--env-file", "nowhere"), "--env-file: cannot read nowhere: No such file or directory"),
        (("run", "x", "--report", "nowhere/r.jsonl"), "--report: the directory "),
        (("query", "upstram", "x"), 'unknown query "upstram" (did you mean "upstream"?)'),
        (("query", "upstream", "x"), "arguments are required: --nodes"),
        (("check", "x", "--quiet"), 'unknown option "--quiet"'),
    ],
)
def test_command_line_is_refused(line: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in refused(capsys, *line)


def test_json_error_in_file_names_line_and_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "values.json"
    file.write_text('{\n  "a": 1,\n  b\n}')
    assert f"--inputs: not valid JSON at {file}:3:3: " in refused(capsys, "run", "x", "--inputs", f"@{file}")


def test_file_without_at_sign_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "values.json"
    file.write_text("{}")
    assert f'did you mean "@{file}"?' in refused(capsys, "run", "x", "--inputs", str(file))


def test_env_file_error_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\n# comment\n\nexport B\n")
    text = refused(capsys, "run", "x", "--env-file", str(file))
    assert f"--env-file: {file}:4: expected KEY=VALUE, found 'export B'" in text


@pytest.mark.parametrize("flag", ["--session-dir", "--temp-root", "--project-data", "--pkg-data-root"])
def test_file_in_place_of_a_directory_is_refused(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"{flag}: {file} is a file, expected a directory" in refused(capsys, "run", "x", flag, str(file))


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    text = refused(capsys, "run", "x", "--session-dir", str(place))
    assert f"--session-dir: cannot make the directory {place}: Not a directory" in text


def test_command_forgotten_before_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flow.oo.yaml"
    file.touch()
    assert f"to run it: oocana-async run {file}" in refused(capsys, str(file))


@pytest.mark.parametrize("line", [("--help",), ("run", "--help"), ("check", "-h"), ("query", "upstream", "--help")])
def test_help_succeeds(line: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 0
    assert capsys.readouterr().out.startswith("usage: oocana-async")


def test_help_of_run_lists_options_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "--help"])
    text = capsys.readouterr().out
    for word in ("--inputs", "--nodes-inputs", "--search-paths", "--max-threads", "--json", "--quiet", "130"):
        assert word in text


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"oocana-async {version('oocana-async')}\n"
