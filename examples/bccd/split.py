"""The published split of the blood-cell set as sequences, for partition_mode "sequence".

Of two sequences the longer becomes fold 1 (training), the shorter fold 0 (validation).

    python split.py FOLDER > split.json
"""

import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
json.dump(
    {name: (folder / f"{name}.txt").read_text().split() for name in ("trainval", "test")},
    sys.stdout,
)
