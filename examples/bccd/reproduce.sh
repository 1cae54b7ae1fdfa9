#!/bin/sh
# Converts, trains and evaluates on the blood-cell set:
#
#     examples/bccd/reproduce.sh FOLDER OUTPUT
#
# FOLDER holds image_2, label_2, trainval.txt and test.txt. OUTPUT gets everything that is written.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: reproduce.sh FOLDER OUTPUT}" && pwd)
mkdir -p "${2:?usage: reproduce.sh FOLDER OUTPUT}"
out=$(cd "$2" && pwd)

for spec in convert train; do
    sed -e "s|@DATA@|$data|g" -e "s|@OUT@|$out|g" "$here/$spec.txt" > "$out/$spec.txt"
done
python "$here/split.py" "$data" > "$out/split.json"
frcnn dataset_convert -d "$out/convert.txt" -o "$out/tfrecords/bccd"
frcnn train -e "$out/train.txt" -r "$out/results" --use_amp
model=$(ls -t "$out"/results/*.tlt | head -n 1)
frcnn evaluate -e "$out/train.txt" -m "$model" --json "$out/evaluation.json"
python "$here/curve.py" "$out/results/status.json"
