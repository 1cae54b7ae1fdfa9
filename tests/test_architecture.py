"""The rules that keep the core small, in one direction, and the command line fast."""

import ast
import subprocess
import sys
from collections.abc import Collection
from functools import cache
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
    "boxes errors moved structures",
    "detector files processes",
    "data quantization",
    "model_files sample_data survey",
    "plugin pruning",
    "__init__ evaluation scaffold spec testing weights",
    "builtin export inference training",
    "assemble",
    "cli",
)
"""Every room of ``frcnn_core``, and the modules beside them, from the ground up."""

LIGHT = (
    "__init__ errors files moved structures plugin spec scaffold cli "
    "data.label_files data.labels data.preprocessing detector.settings detector.stride "
    "processes.cores processes.process"
)
"""Rooms and modules that work without TensorFlow: what describes components, reads specs and
labels, and answers `frcnn --help`.  They may import it in functions, when they need a tensor."""


def modules() -> list[Path]:
    """Every source file of the core that was written by hand."""
    return [path for path in sorted(CORE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(path: Path) -> str:
    """The room that a file of the core is in, or its own name if it is in none."""
    return path.relative_to(CORE).with_suffix("").parts[0]


def level(name: str) -> int:
    """Where a room is in ``LEVELS``; above all of them if it is not."""
    return next((i for i, names in enumerate(LEVELS) if name in names.split()), len(LEVELS))


@cache
def imported(path: Path, *, anywhere: bool = True) -> frozenset[str]:
    """Full names of what a file imports; ``from a import b`` gives ``a`` and ``a.b``.

    Args:
        anywhere: also inside functions and for annotations only (``if TYPE_CHECKING``).
    """
    names = set()
    for node in _nodes(ast.parse(path.read_text()), anywhere):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def _nodes(node: ast.AST, anywhere: bool):
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and "TYPE_CHECKING" in ast.unparse(child.test)
            and not anywhere
        ):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not anywhere:
            continue
        yield child
        yield from _nodes(child, anywhere)


@cache
def known_rooms() -> frozenset[str]:
    """Every room of the core, and every module beside them."""
    return frozenset(room(path) for path in CORE.rglob("*.py"))


def rooms_of(names: Collection[str]) -> set[str]:
    """The rooms of ``frcnn_core`` among full names, and the modules beside them."""
    inside = {name.split(".")[1] for name in names if name.startswith("frcnn_core.")}
    known = known_rooms()
    # What is not a module, such as `hookimpl`, comes from the package itself.
    return (inside & known) | ({"__init__"} if inside - known else set())


@cache
def faces() -> dict[str, dict[str, str]]:
    """Room -> name that it hands on -> full name of the module that has it."""
    found: dict[str, dict[str, str]] = {}
    for path in CORE.glob("*/__init__.py"):
        listed = path.with_suffix(".pyi") if path.with_suffix(".pyi").exists() else path
        names = found.setdefault(path.parent.name, {})
        for node in ast.parse(listed.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                own = f"frcnn_core.{path.parent.name}"
                module = f"{own}.{node.module or ''}".rstrip(".") if node.level else node.module
                if module == own or module.startswith(f"{own}."):
                    names |= {alias.asname or alias.name: module for alias in node.names}
    return found


def packages(names: Collection[str]) -> set[str]:
    """Top-level packages; protobuf is ``google``."""
    return {name.split(".")[0] for name in names}


def test_every_room_has_a_level_and_every_level_is_of_rooms():
    assert set(" ".join(LEVELS).split()) == {room(path) for path in modules()}


def test_no_more_than_eight_modules_lie_outside_of_rooms():
    assert len(list(CORE.glob("*.py"))) <= 8


@pytest.mark.parametrize("path", modules(), ids=by_path)
def test_a_module_imports_only_from_its_own_room_and_from_lower_levels(path):
    own = level(room(path))
    above = {name for name in rooms_of(imported(path)) - {room(path)} if level(name) >= own}
    assert not above


@pytest.mark.parametrize("path", [*modules(), *(ROOT / "benchmarks").glob("*.py")], ids=by_path)
def test_what_a_room_hands_on_is_imported_from_its_face(path):
    given = {f"{module}.{name}" for names in faces().values() for name, module in names.items()}
    handed_on = {full for full in imported(path) & given if len(full.split(".")) == 4}
    assert not {full for full in handed_on if full.split(".")[1] != room_or_folder(path)}


def room_or_folder(path: Path) -> str:
    return room(path) if path.is_relative_to(CORE) else path.parent.name


@pytest.mark.parametrize("folder", ["frcnn_core", "benchmarks", *PLUGINS])
def test_imports_go_round_in_no_circle(folder):
    home = PLUGINS.get(folder, ROOT / folder)
    files = {path: _dotted(path, home) for path in home.rglob("*.py") if "_pb2" not in path.name}
    graph: dict[str, set[str]] = {}
    for path, name in files.items():
        # A face that imports on demand is no part of a circle.
        if not path.with_suffix(".pyi").exists():
            graph[name] = (imported(path) & set(files.values())) - {name}
    for name, wanted in graph.items():
        # `from package import module` runs the package's face, which need not use the module.
        graph[name] = {one for one in wanted if not name.startswith(f"{one}.")}
    TopologicalSorter(graph).prepare()  # raises CycleError, which lists the circle


def _dotted(path: Path, home: Path) -> str:
    parts = path.relative_to(home.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_two_modules_know_horovod():
    found = {by_path(path) for path in modules() if "horovod" in packages(imported(path))}
    assert found == {"frcnn_core/cli/launcher.py", "frcnn_core/processes/distributed.py"}


@pytest.mark.parametrize("path", modules(), ids=by_path)
def test_the_core_knows_no_plugin(path):
    assert not packages(imported(path)) & PLUGINS.keys()


def test_what_is_light_is_imported_without_tensorflow():
    code = f"""
import sys
from importlib import import_module
from pathlib import Path
for name in {LIGHT.split()!r}:
    place = Path({str(CORE)!r}, *name.split("."))
    names = ["frcnn_core" if name == "__init__" else f"frcnn_core.{{name}}"]
    modules = {{path.stem for path in place.glob("*.py")}} - {{"__init__"}}
    names += [f"{{names[0]}}.{{module}}" for module in sorted(modules)]
    for full in names:
        import_module(full)
        assert not {{"tensorflow", "keras"}} & sys.modules.keys(), f"{{full}} imports TensorFlow"
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_what_describes_a_component_is_imported_without_protobuf():
    code = """
import sys
import frcnn_core.plugin, frcnn_core.builtin, frcnn_core.scaffold
assert not any(name.startswith("google.protobuf") for name in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if room(path) not in ("spec", "assemble", "cli")],
    ids=by_path,
)
def test_only_what_assembles_and_the_commands_know_specs(path):
    assert "spec" not in rooms_of(imported(path))


@pytest.mark.parametrize("path", modules(), ids=by_path)
def test_only_the_command_line_prints(path):
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    if room(path) != "cli":
        assert "print" not in calls
        assert not packages(imported(path)) & {"click", "rich"}


@pytest.mark.parametrize("command", COMMANDS.values())
def test_a_command_module_imports_no_heavy_package_at_its_top(command):
    path = ROOT / command.partition(":")[0].replace(".", "/")
    names = imported(path.with_suffix(".py"), anywhere=False)
    assert not packages(names) & {"google", "keras", "numpy", "rich", "tensorflow"}
    assert rooms_of(names) <= {"__init__", "cli", "errors"}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_describes_itself_without_importing_more_than_the_core(name):
    light = {"frcnn_core", *sys.stdlib_module_names}
    seen, waiting = set(), [PLUGINS[name] / "__init__.py"]
    while waiting:
        names = imported(waiting.pop(), anywhere=False)
        of_plugins = {full for full in names if full.split(".")[0] in PLUGINS}
        assert packages(names - of_plugins) <= light
        assert rooms_of(names) <= {"__init__", "errors", "plugin", "structures"}
        modules = {PLUGINS[name].parent / full.replace(".", "/") for full in of_plugins}
        sources = {path.with_suffix(".py") for path in modules if path.with_suffix(".py").exists()}
        waiting += sources - seen
        seen |= sources


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_imports_other_plugins_only_to_make_its_own_of_what_they_make(name):
    for path in PLUGINS[name].rglob("*.py"):
        names = imported(path)
        assert not packages(names) & PLUGINS.keys() - {name} - FOUNDATIONS.get(name, set())


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_imports_from_the_core_only_what_rooms_hand_on(name):
    """The ground floor, faces, and modules that faces hand on."""
    handed_on = faces()
    ground = ("boxes", "errors", "files", "structures")
    for path in PLUGINS[name].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "frcnn_core."
            ):
                continue
            _, place, *module = node.module.split(".")
            where = f"{by_path(path)}:{node.lineno}: {node.module}"
            if place in ground:
                continue
            if module:
                assert handed_on[place].get(module[0]) == f"frcnn_core.{place}", where
            else:
                assert {alias.name for alias in node.names} <= handed_on[place].keys(), where


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_has_an_entry_point(name):
    assert f'= "{name}"' in (ROOT / "pyproject.toml").read_text()
