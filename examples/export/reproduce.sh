#!/bin/sh
# Trains each of the 14 documented backbones briefly on drawn street scenes, exports it to ONNX in
# float32 and in int8, and compares both with the model on the same images:
#
#     examples/export/reproduce.sh OUTPUT [ARCH ...]
#
# What is in OUTPUT already is not made again, so a run that was stopped goes on where it was.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: reproduce.sh OUTPUT [ARCH ...]}"
out=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- \
    resnet:10 resnet:18 resnet:34 resnet:50 resnet:101 vgg:16 vgg:19 googlenet \
    mobilenet_v1 mobilenet_v2 darknet:19 darknet:53 efficientnet:b0 efficientnet:b1

# compare MODEL EXPORTED SPEC JSON; what is beyond the limits is a result, not the script's end.
compare() {
    [ -e "$4" ] || frcnn export verify "$1" "$2" -e "$3" --layers 0 --json "$4" || [ -e "$4" ]
}

if [ ! -e "$out/data/tfrecords" ]; then
    frcnn sample_data "$out/data" --width 320 --height 256 --images 300
    frcnn dataset_convert -d "$out/data/dataset_spec.txt" -o "$out/data/tfrecords/street"
fi

for arch in "$@"; do
    name=$(echo "$arch" | tr : _)
    epochs=4 rate=0.0008
    case "$arch" in
        resnet:10 | resnet:18) epochs=5 ;;
        mobilenet*) epochs=10 ;; # its epochs are short
        darknet:*) rate=0.0002 ;; # with the sample's rate it diverges
    esac
    mkdir -p "$out/$name"
    spec="$out/$name/train.txt"
    # The sample's spec, but for the network and how long it takes.
    sed -e "s/\"resnet:10\"/\"$arch\"/" -e "s/\"0.0008\"/\"$rate\"/" \
        -e "s/num_epochs: 7/num_epochs: $epochs/" \
        -e "s/checkpoint_interval: 7/checkpoint_interval: $epochs/" \
        -e "s/validation_period_during_training: 7/validation_period_during_training: $epochs/" \
        "$out/data/train_spec.txt" > "$spec"
    model="$out/$name/results/frcnn_$name.epoch_$epochs.tlt"
    [ -e "$model" ] || frcnn train -e "$spec" -r "$out/$name/results" --use_amp

    float="$out/$name/float.onnx"
    int8="$out/$name/int8.onnx"
    [ -e "$float" ] || frcnn export onnx -m "$model" -e "$spec" -o "$float"
    [ -e "$int8" ] || frcnn export onnx -m "$model" -e "$spec" -o "$int8" --data_type int8 \
        --cal_cache_file "$out/$name/cal.bin"
    compare "$model" "$float" "$spec" "$out/$name/float.json"
    compare "$model" "$int8" "$spec" "$out/$name/int8.json"
done
python "$here/table.py" "$out"
