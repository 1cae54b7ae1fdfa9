"""A table of accuracy over time from the status.json of a training with the metrics voc12 and coco.

python curve.py results/status.json
"""

import json
import sys
from datetime import datetime
from pathlib import Path

lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
starts = [i for i, line in enumerate(lines) if line["status"] == "STARTED"]
run = lines[starts[-1] :]


def moment(line: dict) -> datetime:
    return datetime.strptime(f"{line['date']} {line['time']}", "%m/%d/%Y %H:%M:%S")


print("minutes  epoch  AP@0.5  COCO AP")
for line in run:
    if "coco" in line.get("kpi", {}):
        minutes = (moment(line) - moment(run[0])).total_seconds() / 60
        kpi = line["kpi"]
        print(f"{minutes:7.1f}  {line['epoch']:5d}  {kpi['voc12']:6.3f}  {kpi['coco']:7.3f}")
