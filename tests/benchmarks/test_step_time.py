"""The model on paper: its formula, and that the page shows what comes out of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.step_time import (
    LINKS,
    NETWORKS,
    RATE,
    SIZES,
    Network,
    count,
    exchange_seconds,
    step_seconds,
    tables,
)

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"

# A step of 1 s forward and 2 s backward, with 100 MB of gradients.
ROUND = Network("round", 25_000_000, forward=RATE / 1e9, backward=2 * RATE / 1e9)


def ring_all_reduce(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each of n processes has afterwards, and how many numbers it sent, step by step.

    Args:
        values: (n, n * m) what each has before.
    """
    n = len(values)
    parts = values.reshape(n, n, -1).copy()
    sent = np.zeros(n, int)
    for step in range(2 * (n - 1)):
        moves = [(rank, (rank - step) % n) for rank in range(n)]
        sending = [parts[rank, part].copy() for rank, part in moves]
        for (rank, part), numbers in zip(moves, sending, strict=True):
            following = parts[(rank + 1) % n]
            # First each part goes round to be added up, then the sums go round.
            following[part] = following[part] + numbers if step < n - 1 else numbers
            sent[rank] += numbers.size
    return parts.reshape(n, -1), sent


@pytest.mark.parametrize("processes", [2, 3, 4, 8])
def test_a_ring_sends_what_the_formula_says(processes):
    values = np.random.default_rng(0).integers(0, 100, (processes, 24 * processes))
    sums, sent = ring_all_reduce(values)
    assert (sums == values.sum(axis=0)).all()
    # At one number per second, that many seconds.
    assert set(sent) == {exchange_seconds(values.shape[1], processes, 1.0)}


def test_one_gpu_exchanges_nothing_and_many_send_everything_twice():
    assert exchange_seconds(100e6, 1, 1e9) == 0
    assert exchange_seconds(100e6, 2, 1e9) == pytest.approx(0.1)
    assert exchange_seconds(100e6, 4, 1e9) == pytest.approx(0.15)
    assert exchange_seconds(100e6, 10**6, 1e9) == pytest.approx(0.2, rel=1e-5)


@pytest.mark.parametrize(
    "bits, overlap, seconds",
    [
        (32, False, 3 + 4.0),
        (16, False, 3 + 2.0),
        (32, True, 1 + 4.0),  # longer than the backward pass of 2 s
        (16, True, 1 + 2.0),  # just as long
    ],
)
def test_an_exchange_of_4_seconds_is_added_or_hidden_in_the_backward_pass(bits, overlap, seconds):
    # 100 MB sent once by each of 2 processes at 25 MB/s.
    assert step_seconds(ROUND, 2, 25e6, bits=bits, overlap=overlap) == pytest.approx(seconds)


def test_a_row_reads_back_as_the_network():
    network = Network("resnet:18", 12_392_189, 242.0, 481.7)
    assert network.row() == "| resnet:18 | 12,392,189 | 47.3 | 242.0 | 481.7 |"
    assert Network.of_row(network.row()) == network


# The page -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    """Those in the table of what was counted."""
    table = PAGE.read_text().split(SIZES + "\n")[1].split("\n\n")[0]
    return [Network.of_row(row) for row in table.splitlines()]


def test_the_tables_of_the_page_are_the_formulas(networks):
    assert tuple(network.arch for network in networks) == NETWORKS
    page = PAGE.read_text()
    for table in tables(networks):
        assert table in page


def test_the_page_states_the_rate_and_the_bandwidths(networks):
    page = PAGE.read_text()
    assert f"{RATE / 1e12:.0f} TFLOP/s" in page
    for link in LINKS:
        number, unit = re.search(r"([\d.]+) (GB|Gbit)/s", link.name).groups()
        assert link.bandwidth == float(number) * (1e9 if unit == "GB" else 1e9 / 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        NETWORKS[0],
        *(pytest.param(arch, marks=pytest.mark.conformance) for arch in NETWORKS[1:]),
    ],
)
def test_what_the_page_counts_is_what_is_in_the_network(arch, networks):
    (listed,) = (network for network in networks if network.arch == arch)
    assert count(arch) == listed
