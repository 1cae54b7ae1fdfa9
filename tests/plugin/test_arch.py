import pytest

from frcnn_core import errors
from frcnn_core.plugin.arch import choices, resolve
from frcnn_core.plugin.components import Backbone
from frcnn_core.plugin.registry import Registered, Registry


class Network(Backbone):
    def __init__(self, name: str, variants: tuple[str, ...] = ()):
        self.name = name
        self.variants = variants

    def features(self, images, blocks):
        return images

    def head(self, rois, blocks):
        return rois


@pytest.fixture
def backbones() -> Registry:
    registry = Registry("backbone", [])
    for network in (Network("resnet", ("10", "18")), Network("googlenet")):
        registry.add(Registered(network, network.name, "frcnn 0.1.0"))
    return registry


def test_an_arch_names_a_backbone_and_a_variant(backbones):
    backbone, variant = resolve("resnet:18", backbones)
    assert (backbone.name, variant) == ("resnet", "18")


def test_a_backbone_without_variants_is_named_alone(backbones):
    backbone, variant = resolve("googlenet", backbones)
    assert (backbone.name, variant) == ("googlenet", "")


@pytest.mark.parametrize(
    "arch, message",
    [
        ("resnet:20", "'resnet:20' is not available.\n  Choose from: resnet:10, resnet:18."),
        ("resnet", "'resnet' is not available.\n  Choose from: resnet:10, resnet:18."),
        ("googlenet:1", "'googlenet:1' is not available.\n  Choose from: googlenet."),
        ("googlenet:", "'googlenet:' is not available.\n  Choose from: googlenet."),
        ("resnt:18", "no backbone is called 'resnt'.\n  Did you mean 'resnet'?"),
        ("", "not set.\n  Choose from: googlenet, resnet:10, resnet:18."),
    ],
)
def test_a_wrong_arch_says_what_to_type_instead(backbones, arch, message):
    with pytest.raises(errors.SpecError) as caught:
        resolve(arch, backbones)
    assert str(caught.value).startswith(f"model_config.arch: {message}")


@pytest.mark.slow
def test_the_choices_of_a_backbone_are_arch_strings():
    assert choices(Network("resnet", ("10", "18"))) == ["resnet:10", "resnet:18"]
    assert choices(Network("googlenet")) == ["googlenet"]
