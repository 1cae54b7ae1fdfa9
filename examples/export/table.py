"""A table of what `frcnn export verify` found for each network in the folder of reproduce.sh.

python table.py OUTPUT
"""

import json
import sys
from pathlib import Path


def row(folder: Path) -> list[str]:
    """One network in float32 and in int8."""
    in_float, in_int8 = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("float", "int8")
    )
    overall = in_float["differences"]["overall"]
    unpaired = overall["num_lost"] + overall["num_gained"]
    of_float, of_int8 = (next(iter(found["metrics"].values())) for found in (in_float, in_int8))
    return [
        folder.name,
        f"{overall['num_pairs']:,}",
        str(unpaired),
        f"{overall['box']['largest']:.5f}",
        f"{overall['score']['largest']:.6f}",
        f"{of_float['model']['mAP']:.4f}",
        f"{of_float['exported']['mAP']:.4f}",
        f"{of_int8['exported']['mAP']:.4f}",
        f"{in_int8['map_loss']:+.4f}",
    ]


print("| network | pairs | lost or gained | box, px | score | mAP | ONNX | int8 | loss |")
print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
for report in sorted(Path(sys.argv[1]).glob("*/int8.json")):
    print(f"| {' | '.join(row(report.parent))} |")
