from importlib.metadata import EntryPoint

import pytest

from frcnn_core import errors
from frcnn_core.plugin.discovery import KINDS, Plugins, installed, name_and_version

BACKBONE = """
from frcnn_core import Backbone, hookimpl

class Network(Backbone):
    name = "{name}"

    def features(self, images, blocks):
        return images

    def head(self, rois, blocks):
        return rois

@hookimpl
def {hook}():
    return {answer}
"""


def code(name="net", hook="frcnn_register_backbones", answer="[Network()]") -> str:
    return BACKBONE.format(name=name, hook=hook, answer=answer)


def names(plugins: Plugins) -> list[str]:
    return [entry.component.name for entry in plugins.backbones]


def test_a_plugin_is_found_with_its_distribution_and_version(site):
    site.install("acme-net 1.2", "acme", code("net"))
    entry = site.plugins().backbones.entry("net")
    assert (entry.plugin, entry.distribution) == ("acme", "acme-net 1.2")


def test_every_hook_has_a_kind_and_every_kind_a_hook():
    from frcnn_core.plugin import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("frcnn_")}
    assert hooks == {kind.hook for kind in KINDS}


@pytest.mark.parametrize(
    "broken, reason",
    [
        ("import timm_that_is_not_there", "No module named 'timm_that_is_not_there'"),
        ("raise RuntimeError('no GPU\\nat all')", "RuntimeError: no GPU at all"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("def", "SyntaxError: invalid syntax"),
        (
            code(hook="frcnn_register_backbone"),
            "it implements 'frcnn_register_backbone', which is no hook. "
            "Did you mean 'frcnn_register_backbones'?",
        ),
        (code().replace("@hookimpl", ""), "it implements no hook; is @hookimpl missing?"),
        (code(answer="None"), "frcnn_register_backbones returned None, not a list."),
        (code(answer="[3]"), "frcnn_register_backbones returned 3, not a Backbone."),
        (code(answer="[Network]"), "return an instance, Network()."),
        (code(name="net:18"), "Network.name is 'net:18'; give it letters, digits and"),
        (code().replace('name = "net"', ""), "Network.name is None"),
        (
            code().replace("backbones():", "backbones(registry):"),
            "Argument(s) {'registry'} are declared in the hookimpl but can not be found",
        ),
    ],
)
def test_a_broken_plugin_is_noted_and_the_others_work(site, broken, reason):
    site.install("acme 0.3", "a_broken_one", broken)
    site.install("good 1.0", "b_good_one", code("net"))
    plugins = site.plugins()
    assert names(plugins) == ["net"]
    (plugin,) = plugins.broken
    assert (plugin.plugin, plugin.distribution) == ("a_broken_one", "acme 0.3")
    assert reason in plugin.reason


def test_a_broken_plugin_registers_none_of_its_components(site):
    site.install("acme 0.3", "acme", code(answer="iter([Network(), None])"))
    assert names(site.plugins()) == []


def test_asking_for_what_a_broken_plugin_may_provide_says_why_it_is_not_there(site):
    site.install("hrnet 0.3", "hrnet", "import timm_that_is_not_there")
    with pytest.raises(errors.UnknownComponentError) as caught:
        site.plugins().backbones.get("hrnet", where="model_config.arch")
    assert "Plugin 'hrnet' (hrnet 0.3) failed to load: No module named" in str(caught.value)


def test_a_name_that_two_plugins_claim_is_an_error_only_for_who_asks_for_it(site):
    site.install("acme 1.0", "acme", code("net"))
    site.install("bits 2.0", "bits", code("net"))
    site.install("core 3.0", "core", code("other"))
    plugins = site.plugins()
    assert names(plugins) == ["net", "net", "other"]
    assert plugins.backbones.get("other").name == "other"
    with pytest.raises(errors.PluginError, match=r"'acme' \(acme 1.0\) and 'bits' \(bits 2.0\)"):
        plugins.backbones.get("net")


def test_two_distributions_may_use_one_name_for_their_entry_points(site):
    site.install("acme 1.0", "net", code("small"))
    site.install("bits 2.0", "net", code("large"))
    assert names(site.plugins()) == ["large", "small"]


def test_a_module_that_two_entry_points_name_is_loaded_once(site):
    site.install("acme 1.0", "one", code("net"), module="plugin_of_both")
    site.install("bits 2.0", "two", code("net"), module="plugin_of_both")
    plugins = site.plugins()
    assert names(plugins) == ["net"]
    assert "plugin_of_both is registered already" in plugins.broken[0].reason


def test_a_hidden_plugin_is_not_loaded_and_the_error_says_it_is_hidden(site):
    site.install("acme 1.0", "acme", "raise RuntimeError")
    plugins = site.plugins(hidden={"acme"})
    assert plugins.broken == []
    with pytest.raises(errors.UnknownComponentError, match="hidden by FRCNN_DISABLE_PLUGINS"):
        plugins.backbones.get("net")


def test_plugins_are_hidden_by_an_environment_variable_with_or_without_spaces(site):
    site.install("acme 1.0", "acme", code("net"))
    code_ = "from frcnn_core.plugin import installed; print([p.plugin for p in installed().hidden])"
    run = site.run("-c", code_, FRCNN_DISABLE_PLUGINS="resnet, acme")
    assert run.stdout.strip() == "['acme', 'resnet']"


def test_an_entry_point_without_a_distribution_is_loaded(site):
    site.install("acme 1.0", "acme", code("net"))
    found = EntryPoint(name="acme", value="plugin_of_acme", group="frcnn")
    assert Plugins([found]).backbones.entry("net").distribution == "unknown distribution"


def test_the_plugins_of_this_distribution_all_load():
    ours = [plugin for plugin in installed().broken if plugin.distribution.startswith("frcnn ")]
    assert ours == []


SCHEDULE = """
from dataclasses import dataclass
from frcnn_core import LRSchedule, hookimpl

class Still(LRSchedule):
    name = "net"
    summary = "always the same"

    @dataclass(frozen=True)
    class Options:
        pass

    def learning_rate(self, options, progress):
        return 0.1

@hookimpl
def frcnn_register_lr_schedules():
    return [Still()]
"""


def test_a_component_is_found_by_its_name_alone(site):
    site.install("acme 1.0", "acme", SCHEDULE)
    kind, entry = site.plugins().entry("net")
    assert (kind.key, entry.distribution) == ("lr_schedule", "acme 1.0")


def test_a_name_that_several_kinds_have_asks_for_the_kind(site):
    site.install("acme 1.0", "acme", SCHEDULE)
    site.install("bits 1.0", "bits", code("net"))
    plugins = site.plugins()
    with pytest.raises(errors.PluginError) as caught:
        plugins.entry("net")
    assert str(caught.value) == (
        "'net' is the name of a backbone (--kind backbone) and an LR schedule (--kind lr_schedule)."
        " Say which is meant."
    )
    assert plugins.entry("net", "backbone")[1].distribution == "bits 1.0"


def test_an_unknown_name_is_compared_with_those_of_all_kinds(site):
    site.install("acme 1.0", "acme", SCHEDULE.replace('"net"', '"plateau"'))
    site.install("bits 1.0", "bits", "import timm_that_is_not_there")
    with pytest.raises(errors.UnknownComponentError) as caught:
        site.plugins().entry("platau")
    first, second, _, last = str(caught.value).splitlines()
    assert first == "no component is called 'platau'."
    assert second == "  Did you mean 'plateau'?"
    assert last.startswith("  Plugin 'bits' (bits 1.0) failed to load: No module named")


def test_what_a_plugin_takes_to_load_is_kept(site):
    slow = "import time; time.sleep(0.05)\n"
    site.install("acme 1.0", "acme", slow + code("net"))
    site.install("bits 1.0", "bits", slow + "raise RuntimeError")
    plugins = site.plugins()
    assert 0.05 <= plugins.backbones.entry("net").seconds < 5
    assert 0.05 <= plugins.broken[0].seconds < 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "distribution, parts",
    [("acme-net 1.2", ("acme-net", "1.2")), ("unknown distribution", ("", ""))],
)
def test_a_distribution_is_a_name_and_a_version(distribution, parts):
    assert name_and_version(distribution) == parts
