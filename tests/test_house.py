"""What the house asks of every file: sizes, documentation, no addresses of registries."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import click
import pytest

from api.cli import cli
from api.settings import OF_OTHERS, Settings

ROOT = Path(__file__).parents[1]
PACKAGES = ("ingest", "metering", "carbon", "api", "dashboards")
MODULES = sorted(
    path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
)
READMES = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *ROOT.glob("*/README.md")]
}


def commands(group: click.Group, prefix: str = "") -> list[str]:
    """Every command of the tree, as it is typed."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, f"{prefix}{name} ")
        else:
            found.append(f"{prefix}{name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module_and_its_functions_are_short_enough_to_read(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > 60]

    assert len(text.splitlines()) <= 500
    assert long == []


def test_every_package_has_a_readme_that_says_where_to_go():
    for folder in (*PACKAGES, "deploy", "tests"):
        assert "Where do I go to" in READMES[Path(folder) / "README.md"] or folder == "deploy"


def test_every_setting_is_in_the_readme():
    readme = READMES[Path("README.md")]
    names = {name: OF_OTHERS.get(name, f"TANYUAN_{name.upper()}") for name in Settings.model_fields}
    missing = [name for name in names.values() if name not in readme]

    assert missing == []


def test_every_command_is_in_the_readme():
    readme = READMES[Path("README.md")]
    for command in commands(cli):
        words = command.split()
        assert all(word in readme for word in words), command


def test_every_finding_code_is_in_a_readme():
    text = "\n".join(READMES.values())
    codes = set()
    for path in MODULES:
        source = (ROOT / path).read_text(encoding="utf-8")
        codes |= set(re.findall(r'Finding\(\s*"([a-z_.]+)"', source))

    assert codes
    assert {code for code in codes if code not in text} == set()


def test_no_file_names_the_address_of_a_package_registry():
    # written apart, so that this file does not name one itself
    hosts = re.compile("|".join((r"pypi\." + "org", "python" + "hosted", r"registry\.npm" + "js")))
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: the files cannot be listed")
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    found = [n for n in names if hosts.search((ROOT / n).read_text("utf-8", errors="replace"))]

    assert names
    assert found == []
