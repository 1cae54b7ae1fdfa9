"""Writes what follows from the .proto files: the Python code, and the reference of the language.

    python protos/generate.py

Run it after any change to a .proto file or to the defaults, and commit what it writes.  It needs
grpcio-tools (``pip install -e '.[dev]'``) in the version that pyproject.toml pins: a newer one
writes code that refuses the protobuf of older TensorFlow releases.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from grpc_tools import protoc

PROJECT = Path(__file__).resolve().parent.parent
PROTOS = PROJECT / "protos"
REFERENCE = Path("docs") / "spec-reference.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=PROJECT, help="root of the tree to write to")
    into = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    compile_protos(f"--python_out={into}", f"--pyi_out={into}")
    (into / REFERENCE).parent.mkdir(exist_ok=True)
    (into / REFERENCE).write_text(reference(), encoding="utf-8")


def compile_protos(*flags: str) -> None:
    """Run protoc on every .proto file."""
    files = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    if status := protoc.main(["protoc", f"-I{PROTOS}", *flags, *files]):
        sys.exit(status)


# The reference ----------------------------------------------------------------------------------

_INTRODUCTION = """\
# The spec language

<!-- Written by protos/generate.py from the comments of the .proto files. Do not edit. -->

A spec is a protobuf message in text format: fields as `name: value` or `name { ... }`, comments
from `#` to the end of the line, texts in single or double quotes. A list is the same field several
times, or `name: [1, 2]`; a map is a repeated `name { key: ... value: ... }`. Of a field written
twice, the last value counts.

The column *Default* tells the value of a field that is left out; an empty cell means that it has
none. `frcnn spec show SPEC` prints a spec with the defaults filled in, and `frcnn spec check SPEC`
tells what is wrong with it. Relative paths start at the working directory or, where nothing is
found there, at `$DATA_BASE_PATH`.
"""


def reference() -> str:
    """The reference of the spec language, as Markdown."""
    sys.path.insert(0, str(PROJECT))
    from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig
    from frcnn_core.spec.experiment_pb2 import Experiment

    comments = _comments()
    parts = [_INTRODUCTION]
    for title, root, file in (
        ("Experiment spec", Experiment, "defaults.txt"),
        ("Dataset spec", DatasetExportConfig, "dataset_defaults.txt"),
    ):
        defaults = _defaults(file)
        parts.append(f"## {title}\n")
        for descriptor, places in _messages(root.DESCRIPTOR).items():
            parts.append(_section(descriptor, places, comments, defaults))
    return "\n".join(parts)


def _section(
    message: Descriptor, places: list[str], comments: dict[str, str], defaults: dict[str, str]
) -> str:
    """One message: what it is, where it stands, and a table of its fields."""
    lines = [f"### {message.name}", "", comments[message.full_name]]
    if places != [""]:
        lines += ["", "In " + " and ".join(f"`{place}`" for place in places) + "."]
    lines += ["", "| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    for field in sorted(message.fields, key=lambda field: field.number):
        names = [f"{place}.{field.name}".removeprefix(".") for place in places]
        default = next((defaults[name] for name in names if name in defaults), "")
        meaning = comments[field.full_name]
        if field.containing_oneof and len(field.containing_oneof.fields) > 1:
            others = [f"`{f.name}`" for f in field.containing_oneof.fields if f is not field]
            meaning += f" Excludes {', '.join(others)}."
        lines.append(f"| `{field.name}` | {_type(field)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _type(field: FieldDescriptor) -> str:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = (message.fields_by_name[name] for name in ("key", "value"))
        return f"map of {_type(key)} to {_type(value)}"
    if message is not None:
        word = f"[{message.name}](#{message.name.lower()})"
    elif field.enum_type is not None:
        word = _choices(field.enum_type)
    else:
        word = {
            FieldDescriptor.CPPTYPE_UINT32: "whole number",
            FieldDescriptor.CPPTYPE_FLOAT: "number",
            FieldDescriptor.CPPTYPE_BOOL: "True or False",
            FieldDescriptor.CPPTYPE_STRING: "text",
        }[field.cpp_type]
    if field.is_repeated:
        return f"list of {word}{'' if message is not None else 's'}"
    return word


def _choices(enum: EnumDescriptor) -> str:
    return ", ".join(f"`{value.name}`" for value in enum.values)


def _messages(root: Descriptor) -> dict[Descriptor, list[str]]:
    """Every message under ``root`` with the places where it is used, as paths."""
    found: dict[Descriptor, list[str]] = {root: [""]}

    def walk(message: Descriptor, prefix: str) -> None:
        for field in sorted(message.fields, key=lambda field: field.number):
            inner = field.message_type
            if inner is not None and not inner.GetOptions().map_entry:
                found.setdefault(inner, []).append(f"{prefix}{field.name}")
                walk(inner, f"{prefix}{field.name}.")

    walk(root, "")
    return found


def _defaults(file: str) -> dict[str, str]:
    """The default of each field, by path, as Markdown."""
    from frcnn_core.spec import syntax

    tree = syntax.parse((PROJECT / "frcnn_core" / "spec" / file).read_text(encoding="utf-8"))
    found: dict[str, str] = {}

    def add(path: str, text: str) -> None:
        found[path] = f"{found[path]}, {text}" if path in found else text

    def walk(fields: tuple[syntax.Field, ...], prefix: str) -> None:
        for field in fields:
            path = f"{prefix}{field.name}"
            for value in field.values:
                if isinstance(value, syntax.Scalar):
                    add(path, f"`{value.text}`")
                elif {inner.name for inner in value.fields} == {"key", "value"}:
                    entry = {inner.name: inner.values[0].text for inner in value.fields}
                    add(path, f"`{entry['key']}: {entry['value']}`")
                else:
                    walk(value.fields, f"{path}.")

    walk(tree, "")
    return found


def _comments() -> dict[str, str]:
    """The comment above each message, field, enum and value in the .proto files, by full name."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "descriptors"
        compile_protos(f"--descriptor_set_out={output}", "--include_source_info")
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    return {name: text for file in files.file for name, text in _file_comments(file)}


def _file_comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        element, name = file, file.package
        steps = iter(location.path)
        for number in steps:
            # A path alternates between a field number and an index: file -> message -> field.
            child = element.DESCRIPTOR.fields_by_number[number]
            index = next(steps, None)
            if index is None or child.message_type is None:
                break
            element = getattr(element, child.name)[index]
            name = f"{name}.{element.name}"
        else:
            if element is not file:
                yield name, " ".join(location.leading_comments.split())


if __name__ == "__main__":
    main()
