"""A model on paper of the time that a training step takes on several GPUs.

    python -m benchmarks.step_time

prints the tables of ``docs/scaling.md``.  Sizes and operations are counted in the networks; the
rate of a GPU and the bandwidths of links are stated, not measured.

A ring all-reduce sends ``2 (n - 1) / n`` times the gradients from each of n processes and receives
as much: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
workstations".  Latency is left out, and every process is taken to have a link to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NETWORKS = (
    "resnet:18",
    "resnet:50",
    "resnet:101",
    "vgg:16",
    "googlenet",
    "mobilenet_v1",
    "mobilenet_v2",
    "darknet:53",
    "efficientnet:b0",
)
HEIGHT, WIDTH, ROIS = 384, 1248, 256
"""Of the one image of each process's batch, as in TLT's sample; pixels, and RoIs a step."""

RATE = 10e12
"""Stated: floating-point operations per second that a GPU does in training."""

EXAMPLE = "resnet:50"
"""The network whose step time is shown for numbers of GPUs."""
GPUS = (1, 2, 4, 8, 16, 32)
MANY = 8
"""The number of GPUs for which all networks are shown."""


@dataclass(frozen=True)
class Link:
    """Between two processes, in each direction."""

    name: str
    bandwidth: float
    """Stated: bytes per second."""


LINKS = (
    Link("NVLink 3, 300 GB/s", 300e9),
    Link("PCIe 4 x16, 32 GB/s", 32e9),
    Link("25 Gbit/s Ethernet", 25e9 / 8),
    Link("1 Gbit/s Ethernet", 1e9 / 8),
)


@dataclass(frozen=True)
class Network:
    """What a step of a network takes; nothing is frozen."""

    arch: str
    parameters: int
    """Trainable ones: so many gradients are exchanged."""
    forward: float
    """GFLOP."""
    backward: float
    """GFLOP."""

    def row(self) -> str:
        """In the table of networks."""
        return (
            f"| {self.arch} | {self.parameters:,} | {4 * self.parameters / 2**20:.1f} "
            f"| {self.forward:.1f} | {self.backward:.1f} |"
        )

    @classmethod
    def of_row(cls, row: str) -> Network:
        """The inverse."""
        arch, parameters, _, forward, backward = (cell.strip() for cell in row.split("|")[1:-1])
        return cls(arch, int(parameters.replace(",", "")), float(forward), float(backward))


def exchange_seconds(num_bytes: float, gpus: int, bandwidth: float) -> float:
    """Time of a ring all-reduce.

    Args:
        num_bytes: of the gradients of one process.
        gpus: how many take part.
        bandwidth: bytes per second, in each direction at once.
    """
    return 2 * (gpus - 1) / gpus * num_bytes / bandwidth


def step_seconds(
    network: Network, gpus: int, bandwidth: float, *, bits: int = 32, overlap: bool = False
) -> float:
    """Time of a step of all GPUs, each with a batch of its own.

    Args:
        bandwidth: bytes per second.
        bits: that a gradient is sent as.
        overlap: exchange gradients while others are still computed, at best during the whole
            backward pass; frcnn exchanges them after it.
    """
    exchange = exchange_seconds(bits / 8 * network.parameters, gpus, bandwidth)
    forward, backward = 1e9 * network.forward / RATE, 1e9 * network.backward / RATE
    if overlap:
        return forward + max(backward, exchange)
    return forward + backward + exchange


def count(arch: str) -> Network:
    """A network as it is drawn for three classes."""
    from frcnn_core import assemble
    from frcnn_core.detector import flops
    from frcnn_core.plugin import installed
    from frcnn_core.spec.load import loads

    spec = loads(_SPEC.format(arch=arch, height=HEIGHT, width=WIDTH), "model")
    detector = assemble.new_model(spec, installed()).detector
    work = flops.of_training(detector, (1, HEIGHT, WIDTH, 3), rois_per_image=ROIS)
    parameters = sum(v.value.shape.num_elements() for v in detector.trainable_variables)
    backward = work.pop("backward")
    return Network(arch, parameters, round(sum(work.values()) / 1e9, 1), round(backward / 1e9, 1))


_SPEC = """
dataset_config {{
  target_class_mapping {{ key: "car" value: "car" }}
  target_class_mapping {{ key: "cyclist" value: "cyclist" }}
  target_class_mapping {{ key: "person" value: "person" }}
}}
model_config {{
  arch: "{arch}"
  input_image_config {{ size_height_width {{ height: {height} width: {width} }} }}
  freeze_bn: False
}}
"""


# Tables ---------------------------------------------------------------------------------------

SIZES = (
    "| network | parameters that train | MiB of gradients | forward, GFLOP | backward, GFLOP |\n"
    "|---|---:|---:|---:|---:|"
)


def sizes(networks: Sequence[Network]) -> str:
    """The table of what was counted, as Markdown."""
    return "\n".join([SIZES, *(network.row() for network in networks)])


def by_gpus(network: Network) -> str:
    """Milliseconds of a step of one network by link and number of GPUs."""
    rows = []
    for link in LINKS:
        for bits, overlap in ((32, False), (32, True), (16, False), (16, True)):
            cells = [
                1000 * step_seconds(network, gpus, link.bandwidth, bits=bits, overlap=overlap)
                for gpus in GPUS
            ]
            rows.append([link.name, str(bits), "yes" if overlap else "no", *map(_short, cells)])
    return _table(["link", "bits", "overlap", *map(str, GPUS)], 3, rows)


def by_network(networks: Sequence[Network]) -> str:
    """Milliseconds of a step on ``MANY`` GPUs, and the share of them that is not exchange."""
    rows = []
    for network in networks:
        alone = step_seconds(network, 1, 1.0)
        steps = [step_seconds(network, MANY, link.bandwidth) for link in LINKS]
        cells = [f"{_short(1000 * step)} ({alone / step:.2f})" for step in steps]
        rows.append([network.arch, _short(1000 * alone), *cells])
    return _table(["network", "one GPU", *(link.name for link in LINKS)], 1, rows)


def tables(networks: Sequence[Network]) -> Iterator[str]:
    """All three, as ``docs/scaling.md`` has them."""
    (example,) = (network for network in networks if network.arch == EXAMPLE)
    yield sizes(networks)
    yield by_gpus(example)
    yield by_network(networks)


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _table(heading: Sequence[str], words: int, rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---"] * words + ["---:"] * (len(heading) - words))
    first, *others = (f"| {' | '.join(line)} |" for line in (heading, *rows))
    return "\n".join([first, f"|{rule}|", *others])


def main() -> None:
    print("\n\n".join(tables([count(arch) for arch in NETWORKS])))


if __name__ == "__main__":
    main()
