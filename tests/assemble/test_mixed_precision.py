"""A training in mixed precision comes to what a training in float32 comes to."""

import pytest
import toy

from frcnn_core import assemble
from frcnn_core.spec.load import loads
from frcnn_core.training import EpochDone

EPOCHS = 20


def trained(folder, *, use_amp):
    """The epochs of a training that finds nearly every square."""
    text = toy.spec_text(
        folder,
        epochs=EPOCHS,
        rate=0.005,
        period=EPOCHS,
        validation=toy.validated_on(folder, "val"),
    )
    made = assemble.training(
        loads(text, "spec.txt"),
        toy.plugins(),
        results_dir=folder / f"amp_{use_amp}",
        use_amp=use_amp,
    )
    assert made.precision == ("mixed_bfloat16" if use_amp else "float32")
    return [event for event in made.trainer.run() if isinstance(event, EpochDone)]


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does(tmp_path):
    toy.write_scenes(tmp_path, "train", 96, seed=0)
    toy.write_scenes(tmp_path, "val", 64, seed=1)
    whole, mixed = (trained(tmp_path, use_amp=use_amp) for use_amp in (False, True))
    first = [sum(epochs[0].losses.values()) for epochs in (whole, mixed)]
    # From the same weights over the same images in the same order, when rounding has not yet
    # led them apart.
    assert first[1] == pytest.approx(first[0], rel=0.02)
    mAP = [epochs[-1].validation.primary for epochs in (whole, mixed)]
    assert min(mAP) > 0.9
    assert mAP[1] == pytest.approx(mAP[0], abs=0.04)
