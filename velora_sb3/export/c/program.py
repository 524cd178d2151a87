"""A C program in the making: constants, functions, and the lines of one step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from velora_sb3.export.c.functions import FUNCTIONS, NEEDS

PER_LINE = 8


class Program:
    """Constants, functions and statements, as they are emitted.

    Attributes:
        number: The C type of an observation's numbers.
        weight_bytes: Size of all constants.
        stack_bytes: Size of the local arrays of a step.
    """

    def __init__(self, number: str) -> None:
        self.number = number
        self.weight_bytes = self.stack_bytes = 0
        self._constants: list[str] = []
        self._functions: dict[str, str] = {}
        self._lines: list[str] = []
        self._buffers: list[str] = []
        self._names: dict[str, int] = {}
        self._depth = 1

    def floats(self, name: str, values: torch.Tensor | np.ndarray[Any, Any]) -> str:
        """A constant array of floats; returns its name."""
        numbers = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, np.float32).ravel()
        if np.isnan(numbers).any():
            raise ValueError(f"the policy has NaN among its weights ({name}): it cannot act, train it again")
        return self._constant(name, "float", [_literal(number) for number in numbers], 4)

    def indices(self, name: str, values: Any) -> str:
        """A constant array of indices; returns its name."""
        numbers = np.asarray(values).ravel()
        if numbers.max(initial=0) > 0xFFFF:
            raise ValueError(f"{name} has more than 65,535 entries: this network is too large for C, export to ONNX")
        return self._constant(name, "unsigned short", [str(int(number)) for number in numbers], 2)

    def buffer(self, name: str, size: int) -> str:
        """A local array of floats; returns its name."""
        unique = self._unique(name)
        self._buffers.append(f"    float {unique}[{max(size, 1)}];")
        self.stack_bytes += 4 * max(size, 1)
        return unique

    def call(self, function: str, *arguments: object) -> None:
        """A statement that calls a function of :mod:`functions`."""
        self.line(f"{self.use(function)}({', '.join(map(str, arguments))});")

    def use(self, function: str) -> str:
        """Include a function, with those that it needs; returns its name."""
        for name in (*NEEDS.get(function, ()), function):
            self._functions.setdefault(name, FUNCTIONS[name].replace("NUMBER", self.number))
        return function

    def line(self, text: str) -> None:
        """A line of the step."""
        if text.startswith("}"):
            self._depth -= 1
        self._lines.append("    " * self._depth + text)
        if text.endswith("{"):
            self._depth += 1

    def definitions(self) -> str:
        """Constants and functions."""
        ordered = [self._functions[name] for name in FUNCTIONS if name in self._functions]
        return "\n".join([*self._constants, "", *ordered])

    def body(self) -> str:
        """The inside of the step."""
        return "\n".join([*self._buffers, "", *self._lines])

    def _constant(self, name: str, kind: str, literals: list[str], width: int) -> str:
        unique = self._unique(name)
        literals = literals or ["0"]
        rows = [", ".join(literals[i : i + PER_LINE]) for i in range(0, len(literals), PER_LINE)]
        body = ",\n    ".join(rows)
        self._constants.append(f"static const {kind} {unique}[{len(literals)}] = {{\n    {body}\n}};")
        self.weight_bytes += width * len(literals)
        return unique

    def _unique(self, name: str) -> str:
        number = self._names.get(name, 0)
        self._names[name] = number + 1
        return f"{name}_{number}"


def _literal(number: np.float32) -> str:
    if np.isinf(number):
        return "-INFINITY" if number < 0 else "INFINITY"
    return literal(float(number))


def literal(number: float) -> str:
    """A float constant that reads back as the same float."""
    text = f"{number:.9g}"
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
