#!/bin/sh
# Prunes the detector of the blood-cell example to at most half of its parameters and retrains it:
#
#     examples/prune/reproduce.sh FOLDER OUTPUT
#
# OUTPUT is that of examples/bccd/reproduce.sh, which is run first if it has no model yet; FOLDER is
# its folder of images and labels.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${2:?usage: reproduce.sh FOLDER OUTPUT}"
out=$(cd "$2" && pwd)

[ -e "$out/evaluation.json" ] || "$here/../bccd/reproduce.sh" "$1" "$out"
model=$(ls -t "$out"/results/*.tlt | head -n 1)

frcnn prune -m "$model" --sweep
frcnn prune -m "$model" -o "$out/pruned.tlt" --target-ratio 0.5 --json "$out/pruned.json"
frcnn evaluate -e "$out/train.txt" -m "$out/pruned.tlt" --json "$out/evaluation_pruned.json"
# The same spec, but for where it starts and how long it takes.
cat "$out/train.txt" - > "$out/retrain.txt" <<EOF
training_config {
  retrain_pruned_model: "$out/pruned.tlt"
  num_epochs: 12
  checkpoint_interval: 12
}
EOF
frcnn train -e "$out/retrain.txt" -r "$out/retrained" --use_amp
retrained=$(ls -t "$out"/retrained/*.tlt | head -n 1)
frcnn evaluate -e "$out/retrain.txt" -m "$retrained" --json "$out/evaluation_retrained.json"
python "$here/../bccd/curve.py" "$out/retrained/status.json"
