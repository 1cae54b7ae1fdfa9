"""Every registered component passes the contract of its kind: it is tested by existing.

Of a backbone's variants the smallest is tested by `make test`, and a second one by `make
conformance`.  The others have more or wider layers and no new kind of them.  They are drawn here,
without weights; `frcnn plugins check NAME` tests them in full, in about a minute for the largest.
"""

from collections.abc import Iterator
from itertools import chain

import pytest

from frcnn_core.plugin.discovery import KINDS, installed
from frcnn_core.testing.suites import suite

SECOND = {"resnet": "50"}
"""Where the second one to test is not the second in the list: bottlenecks begin at 50."""


def variants_of(backbone) -> tuple[str, ...]:
    """The variants to test in full: the smallest, and another if there are several."""
    first, rest = backbone.variants[:1], backbone.variants[1:]
    return first + ((SECOND.get(backbone.name, rest[0]),) if rest else ())


def contracts_of(kind: str, component) -> Iterator[type]:
    if kind != "backbone":
        yield suite(kind, component)
        return
    smallest, *others = variants_of(component) or ("",)
    yield pytest.mark.slow(suite(kind, component, only_variants=(smallest,)))
    for other in others:
        contract = suite(kind, component, only_variants=(other,))
        contract.__name__ += f"_{other}"
        yield pytest.mark.conformance(contract)


for _kind in KINDS:
    for _entry in installed().registries[_kind.key]:
        for _contract in contracts_of(_kind.key, _entry.component):
            globals()[_contract.__name__] = _contract

LEFT_OUT = chain.from_iterable(
    [(entry.component, variant) for variant in entry.component.variants]
    for entry in installed().backbones
)


@pytest.mark.parametrize(
    "backbone, variant",
    [
        pytest.param(backbone, variant, id=f"{backbone.name}:{variant}")
        for backbone, variant in LEFT_OUT
        if variant not in variants_of(backbone)
    ],
)
def test_a_variant_that_is_not_tested_in_full_can_be_drawn(backbone, variant):
    parts = suite("backbone", backbone)().sketch(variant)
    assert len(set(parts.names)) == len(parts.names)
    assert parts.features.output.shape[-1] > 0
    assert len(parts.head.output.shape) == 2
