"""The rules that keep the core small, in one direction, and the command line fast."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from frcnn_core.cli import COMMANDS

ROOT = Path(__file__).parents[1]
CORE = ROOT / "frcnn_core"
PLUGINS = {path.parent.name: path.parent for path in ROOT.glob("plugins/*/frcnn_*/__init__.py")}

FOUNDATIONS = {
    "frcnn_etlt": {"frcnn_onnx"},
    "frcnn_openvino": {"frcnn_onnx"},
    "frcnn_tensorrt": {"frcnn_onnx", "frcnn_etlt"},
    "frcnn_tflite": {"frcnn_onnx"},
    "frcnn_trt_onnx": {"frcnn_onnx"},
}
"""Plugins that may import others: what they write, they make of what those make."""

LEVELS = (
    # 0: numpy at most.
    "errors structures files labels label_files scoring original_pixels process cores",
    # 1: what describes a component; neither TensorFlow nor protobuf.
    "__init__ components compatibility hookspecs import_plan int8 label_formats registry "
    "plugins options arch scaffold",
    # 2: the spec language; protobuf, no TensorFlow.
    "spec",
    # 3: the arithmetic; TensorFlow, no spec.
    "anchors boxes convolution exif extents folding graphs layers losses matching "
    "preprocessing proposals quantized_layers roi_pooling",
    # 4: the detector, its data and its files.
    "archive builtin checkpoints contact_sheet darknet_files data detector distributed "
    "drawing encryption formats keras_files model placement precision pruning quantization "
    "sample_data status tensorboard torch_files triage weights",
    # 5: what is done with a detector.
    "calibration comparison conformance evaluation flops inference survey testing training "
    "training_log verification",
    # 6: the only place that knows specs, plugins and detectors at once.
    "assemble",
    # 7: the only place that prints.
    "cli",
)
"""Every module and package of ``frcnn_core``."""


def modules() -> list[Path]:
    """Every source file of the core that was written by hand."""
    return [path for path in sorted(CORE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def unit(path: Path) -> str:
    """The module or subpackage directly under ``frcnn_core`` that a file belongs to."""
    return path.relative_to(CORE).with_suffix("").parts[0]


def level(name: str) -> int:
    """Where a unit is in ``LEVELS``; above all of them if it is not."""
    return next((i for i, names in enumerate(LEVELS) if name in names.split()), len(LEVELS))


def imported(path: Path, *, anywhere: bool = True) -> set[str]:
    """Full names of what a file imports; ``from a import b`` gives ``a`` and ``a.b``.

    Args:
        anywhere: also inside functions; never under ``if TYPE_CHECKING``.
    """
    names = set()
    for node in _nodes(ast.parse(path.read_text()), anywhere):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _nodes(node: ast.AST, anywhere: bool):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not anywhere:
            continue
        yield child
        yield from _nodes(child, anywhere)


def core_units(names: set[str]) -> set[str]:
    """The modules and subpackages of ``frcnn_core`` among full names."""
    inside = {name.split(".")[1] for name in names if name.startswith("frcnn_core.")}
    known = {unit(path) for path in CORE.rglob("*.py")}
    # What is not a module, such as `hookimpl`, comes from the package itself.
    return (inside & known) | ({"__init__"} if inside - known else set())


def packages(names: set[str]) -> set[str]:
    """Top-level packages; protobuf is ``google``."""
    return {name.split(".")[0] for name in names}


def test_every_module_has_a_level_and_every_level_is_of_modules():
    assert set(" ".join(LEVELS).split()) == {unit(path) for path in modules()}


@pytest.mark.parametrize("path", modules(), ids=by_path)
def test_a_module_imports_only_from_its_own_level_and_lower_ones(path):
    own = level(unit(path))
    higher = {name for name in core_units(imported(path)) if level(name) > own}
    assert not higher


def test_imports_go_round_in_no_circle():
    graph: dict[str, set[str]] = {}
    for path in modules():
        graph.setdefault(unit(path), set()).update(core_units(imported(path)) - {unit(path)})
    TopologicalSorter(graph).prepare()  # raises CycleError, which lists the circle


def test_two_modules_know_horovod():
    found = {by_path(path) for path in modules() if "horovod" in packages(imported(path))}
    assert found == {"frcnn_core/cli/launcher.py", "frcnn_core/processes/distributed.py"}


@pytest.mark.parametrize("path", modules(), ids=by_path)
def test_the_core_knows_no_plugin(path):
    assert not packages(imported(path)) & PLUGINS.keys()


@pytest.mark.parametrize(
    "path", [path for path in modules() if level(unit(path)) <= 2], ids=by_path
)
def test_nothing_up_to_the_spec_imports_tensorflow(path):
    assert not packages(imported(path)) & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    "path", [path for path in modules() if level(unit(path)) <= 1], ids=by_path
)
def test_what_describes_a_component_does_not_import_protobuf(path):
    assert "google" not in packages(imported(path))


@pytest.mark.parametrize(
    "path", [path for path in modules() if 3 <= level(unit(path)) <= 5], ids=by_path
)
def test_nothing_from_the_arithmetic_to_the_trainer_knows_specs(path):
    assert "spec" not in core_units(imported(path))


@pytest.mark.parametrize("path", modules(), ids=by_path)
def test_only_the_command_line_prints(path):
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    if unit(path) != "cli":
        assert "print" not in calls
        assert not packages(imported(path)) & {"click", "rich"}


@pytest.mark.parametrize("command", COMMANDS.values())
def test_a_command_module_imports_no_heavy_package_at_its_top(command):
    path = ROOT / command.partition(":")[0].replace(".", "/")
    names = imported(path.with_suffix(".py"), anywhere=False)
    assert not packages(names) & {"google", "keras", "numpy", "rich", "tensorflow"}
    assert core_units(names) <= {"__init__", "cli", "errors"}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_describes_itself_without_importing_more_than_the_core(name):
    light = {"frcnn_core", *sys.stdlib_module_names}
    seen, waiting = set(), [PLUGINS[name] / "__init__.py"]
    while waiting:
        names = imported(waiting.pop(), anywhere=False)
        of_plugins = {full for full in names if full.split(".")[0] in PLUGINS}
        assert packages(names - of_plugins) <= light
        assert all(level(unit) <= 1 for unit in core_units(names))
        modules = {PLUGINS[name].parent / full.replace(".", "/") for full in of_plugins}
        sources = {path.with_suffix(".py") for path in modules if path.with_suffix(".py").exists()}
        waiting += sources - seen
        seen |= sources


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_imports_neither_other_plugins_nor_what_uses_plugins(name):
    for path in PLUGINS[name].rglob("*.py"):
        names = imported(path)
        assert not packages(names) & PLUGINS.keys() - {name} - FOUNDATIONS.get(name, set())
        assert all(level(unit) <= 4 for unit in core_units(names))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_has_an_entry_point(name):
    assert f'= "{name}"' in (ROOT / "pyproject.toml").read_text()
