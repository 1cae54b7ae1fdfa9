"""What the pages say about the code is what the code says."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from frcnn_core import testing
from frcnn_core.plugin import components, hookspecs, import_plan
from frcnn_core.plugin.discovery import KINDS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "writing-plugins.md"
TINYNET = ROOT / "examples" / "frcnn-backbone-tinynet"
PAGES = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("README.md"))]


def section(heading: str) -> str:
    """What follows a heading of the page, up to the next heading."""
    parts = re.split(r"^#+ (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading]


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def outline(node: ast.AST) -> str:
    """A function or class as code, without docstrings and bodies."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef):
            inner.body = [ast.Expr(ast.Constant(...))]
        elif isinstance(inner, ast.ClassDef):
            inner.body = [one for one in inner.body if not isinstance(one, ast.Expr)]
    return ast.unparse(node)


def definitions(code: str) -> dict[str, str]:
    """Outline of each function and class at the top of ``code``, by name."""
    return {
        node.name: outline(node)
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def source(module) -> dict[str, str]:
    return definitions(Path(module.__file__).read_text())


@pytest.mark.parametrize(
    "language, file",
    [("toml", "pyproject.toml"), ("python", "frcnn_tinynet.py"), ("python", "test_tinynet.py")],
)
def test_the_tutorials_code_is_the_examples_file(language, file):
    assert TINYNET.joinpath(file).read_text() in blocks(PAGE.read_text(), language)


@pytest.mark.parametrize("hook", [kind.hook for kind in KINDS])
def test_every_hook_has_a_heading_and_its_exact_signature(hook):
    (block,) = blocks(section(f"`{hook}`"))
    documented = definitions(block)[hook].replace("@hookimpl", "@hookspec")
    assert documented == source(hookspecs)[hook]


@pytest.mark.parametrize("kind", [kind.base.__name__ for kind in KINDS])
def test_every_kind_has_a_heading_and_its_exact_attributes_and_methods(kind):
    documented = {}
    for block in blocks(section(kind)):
        documented |= definitions(block)
    known = source(components)
    assert documented[kind] == known[kind]
    assert all(documented[name] == known[name] for name in documented.keys() & known.keys())


@pytest.mark.parametrize("kind", [kind.base.__name__ for kind in KINDS])
def test_every_kind_names_its_contract(kind):
    contract = re.search(r"frcnn_core\.testing\.(\w+)", section(kind))[1]
    assert contract == f"{kind}Contract"
    assert hasattr(testing, contract)


def test_what_all_components_have_is_as_in_the_code():
    (block,) = blocks(section("The components"))
    assert definitions(block)["Component"] == source(components)["Component"]


def test_the_schedule_on_the_page_falls_from_the_base_rate_to_zero(monkeypatch):
    module = type(sys)("polynomial")
    monkeypatch.setitem(sys.modules, "polynomial", module)
    exec(blocks(section("LRSchedule"))[-1], vars(module))
    (schedule,) = module.frcnn_register_lr_schedules()
    options = schedule.Options(base_lr=0.02)
    rates = [schedule.learning_rate(options, progress) for progress in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([0.02, 0.01, 0.0])


def test_the_label_format_on_the_page_passes_its_contract(monkeypatch, tmp_path):
    module = type(sys)("columns")
    monkeypatch.setitem(sys.modules, "columns", module)
    exec(blocks(section("LabelFormat"))[-1], vars(module))
    (columns,) = module.frcnn_register_label_formats()
    contract = type("Contract", (testing.LabelFormatContract,), {"label_format": columns})()
    for name in vars(testing.LabelFormatContract):
        if name.startswith("test_") and "damaged" not in name:
            tmp_path.joinpath(name).mkdir()
            getattr(contract, name)(tmp_path / name)
    contract.test_a_damaged_file_is_an_error_that_names_it(tmp_path, b"no label")


def test_the_import_plan_on_the_page_fits_the_example(monkeypatch):
    monkeypatch.syspath_prepend(TINYNET)
    from frcnn_tinynet import TinyNet

    (block,) = blocks(section("Weights from elsewhere"))
    page = {"Backbone": TinyNet}
    exec(block, page)
    contract = type("Contract", (testing.BackboneContract,), {"backbone": page["TinyNet"]()})()
    assert len(contract.backbone.import_plan("", "keras").units) == 5
    contract.test_an_import_plan_covers_each_layer_with_weights_once_or_is_refused("", "keras")


def test_the_libraries_on_the_page_are_those_of_the_code():
    sentence = re.search(
        r"`library` is one of(.*?)\. A network", section("Weights from elsewhere"), re.S
    )
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(import_plan.LIBRARIES)


def test_the_report_on_the_page_is_of_checks_that_there_are():
    (report,) = blocks(section("4. Install it and check it"), "text")
    checks = re.findall(r"^  (\w.*) \.\.\. ", report, re.MULTILINE)
    assert len(checks) == 4
    assert all(
        hasattr(testing.BackboneContract, f"test_{check.replace(' ', '_')}") for check in checks
    )


def test_the_page_tells_the_version_of_the_plugin_api():
    assert f"has a version, now {hookspecs.API_VERSION}." in section("Versions")
    (declared,) = blocks(section("Versions"), "toml")
    assert tomllib.loads(declared) == {
        "project": {"entry-points": {"frcnn.api": {"version": f"v{hookspecs.API_VERSION}"}}}
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
