"""Writes ONNX nodes as arithmetic on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Tensor:
    """The name of a tensor in a graph under construction; operators add nodes to it.

    Numbers and arrays on the other side of an operator become constants: floats of float32,
    whole numbers of int64.
    """

    def __init__(self, graph: Graph, name: str):
        self.graph = graph
        self.name = name

    def __add__(self, other: Any) -> Tensor:
        return self.graph.add("Add", self, other)

    def __sub__(self, other: Any) -> Tensor:
        return self.graph.add("Sub", self, other)

    def __mul__(self, other: Any) -> Tensor:
        return self.graph.add("Mul", self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return self.graph.add("Div", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return self.graph.add("Greater", self, other)

    def __and__(self, other: Any) -> Tensor:
        return self.graph.add("And", self, other)

    def reshape(self, *shape: int) -> Tensor:
        """-1 is what is left; 0 is the dimension that stood there."""
        return self.graph.add("Reshape", self, np.array(shape, np.int64))

    def transpose(self, *axes: int) -> Tensor:
        return self.graph.add("Transpose", self, perm=axes)

    def unsqueeze(self, *axes: int) -> Tensor:
        return self.graph.add("Unsqueeze", self, np.array(axes, np.int64))

    def slice(self, start: int, end: int, *, axis: int) -> Tensor:
        starts, ends, axes = (np.array([number], np.int64) for number in (start, end, axis))
        return self.graph.add("Slice", self, starts, ends, axes)

    def split(self, parts: int, *, axis: int) -> tuple[Tensor, ...]:
        """Into parts of size 1."""
        sizes = np.ones(parts, np.int64)
        return self.graph.add("Split", self, sizes, axis=axis, num_results=parts)

    def cast(self, dtype: type) -> Tensor:
        return self.graph.add("Cast", self, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


class Graph:
    """Nodes and constants in the order they were added.

    Args:
        name: before the names of nodes and tensors that are added.
    """

    def __init__(self, name: str):
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._counts: dict[str, int] = {}
        self._constants: dict[tuple, str] = {}

    def tensor(self, name: str) -> Tensor:
        """One that is made elsewhere: an input, or by ``include``."""
        return Tensor(self, name)

    def add(
        self,
        op: str,
        *inputs: Any,
        results: list[str] | None = None,
        num_results: int = 1,
        **given: Any,
    ) -> Any:
        """A node's output tensor, or a tuple of them if it has several.

        Args:
            op: operator of ONNX.
            inputs: tensors, and numbers or arrays, which become constants; None leaves one out.
            results: names of the outputs, where they matter.
            given: attributes.
        """
        name = self._fresh(op)
        outputs = results or (
            [name] if num_results == 1 else [f"{name}:{i}" for i in range(num_results)]
        )
        self.nodes.append(
            helper.make_node(op, [self._name(value) for value in inputs], outputs, name, **given)
        )
        tensors = tuple(Tensor(self, output) for output in outputs)
        return tensors[0] if len(tensors) == 1 else tensors

    def include(self, graph: onnx.GraphProto, *, reads: Tensor, as_input: str) -> None:
        """Another graph's nodes; its tensor ``as_input`` is ``reads``."""
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [reads.name if name == as_input else name for name in node.input]
            self.nodes.append(copy)
        self.initializers.extend(graph.initializer)

    def _name(self, value: Any) -> str:
        if value is None:
            return ""
        return value.name if isinstance(value, Tensor) else self._constant(value)

    def _constant(self, value: Any) -> str:
        """One initializer for equal constants."""
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._fresh("constant")
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def _fresh(self, word: str) -> str:
        self._counts[word] = number = self._counts.get(word, 0) + 1
        return f"{self.name}/{word}" + (f"_{number}" if number > 1 else "")
