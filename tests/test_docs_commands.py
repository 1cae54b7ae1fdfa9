"""What README.md and the other pages tell people to type, and where they send them, is there."""

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import click
import pytest

from frcnn_core.cli import COMMANDS, main
from frcnn_core.plugin.discovery import KINDS, installed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("examples/**/*.md")),
]


def code(page: Path) -> list[str]:
    """Every code span and every line of a code block that is not of a programming language."""
    text = page.read_text()
    # All of them, or the end of one would be taken for the beginning of the next.
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in found if language in ("", "sh", "bash")]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [line.strip().removeprefix("$ ") for line in lines] + spans


def typed(program: str) -> list[str]:
    """What the pages say to type that begins with ``program``, without repetitions."""
    found = [line for page in PAGES for line in code(page) if line.startswith(f"{program} ")]
    return list(dict.fromkeys(found))


def command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words of a command line call, and the words after its name."""
    found: click.Command = main
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        if words[0].isupper():  # a placeholder, such as COMMAND
            return found, words[1:]
        inner = found.get_command(click.Context(found), words[0])
        assert inner is not None, f"there is no command {words[0]!r}"
        found, words = inner, words[1:]
    return found, words


@pytest.mark.parametrize("line", typed("frcnn"))
def test_a_command_and_its_flags_exist(line):
    found, words = command(shlex.split(line, comments=True)[1:])
    known = {flag for param in found.params for flag in [*param.opts, *param.secondary_opts]}
    flags = {word for word in words if word.startswith("-")}
    assert flags <= known | {"--help"}


def test_every_command_is_on_the_front_page():
    words = [line.split() for line in code(ROOT / "README.md") if line.startswith("frcnn ")]
    assert COMMANDS.keys() <= {word[1] for word in words}


def test_a_flag_that_prose_names_belongs_to_a_command():
    spans = {span for page in PAGES for span in code(page)}
    named = {span for span in spans if re.fullmatch(r"--?[a-z][\w-]*", span)}
    known = {flag for one in commands(main) for param in one.params for flag in param.opts}
    assert named <= known | {"--help"}


def commands(found: click.Command) -> list[click.Command]:
    """A command and all that it groups."""
    if not isinstance(found, click.Group):
        return [found]
    context = click.Context(found)
    inner = [found.get_command(context, name) for name in found.list_commands(context)]
    return [found, *(one for command in inner for one in commands(command))]


@pytest.mark.parametrize("line", typed("make"))
def test_a_make_target_exists(line):
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", typed("python"))
def test_a_script_or_module_to_run_exists(line):
    words = shlex.split(line, comments=True)[1:]
    if words[0] != "-m":
        assert (ROOT / words[0]).exists()
        return
    module = words[1].replace(".", "/")
    package = ROOT / module / "__main__.py"
    assert package.exists() or 'if __name__ == "__main__"' in (ROOT / f"{module}.py").read_text()


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_in_it(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+://", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(slug, headings), link


def test_the_front_page_lists_the_components_that_come_with_frcnn():
    table = README.split("| Kind | Components |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| ([^|`-]+) \| (.*) \|$", table, re.MULTILINE))
    for kind in KINDS:
        ours = [
            entry.component
            for entry in installed().registries[kind.key]
            if entry.distribution.startswith("frcnn ")
        ]
        assert set(re.findall(r"`(\w+)`", rows[kind.words])) == {one.name for one in ours}
        for variant in (v for one in ours for v in getattr(one, "variants", ())):
            assert re.search(rf"\b{variant}\b", rows[kind.words])


def test_the_front_page_names_the_oldest_python_and_the_tensorflow_that_pip_takes():
    about = metadata("frcnn")
    oldest = about["Requires-Python"].removeprefix(">=")
    assert f"| Python | {oldest} |" in README
    (tensorflow,) = [r for r in about.get_all("Requires-Dist") if r.startswith("tensorflow<")]
    version = re.search(r">=([\d.]+)", tensorflow)[1]
    assert f"| TensorFlow | {version} |" in README


def test_the_backbone_on_the_front_page_is_the_examples():
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    example = (ROOT / "examples" / "frcnn-backbone-tinynet" / "frcnn_tinynet.py").read_text()
    assert block.strip() in example


def test_what_the_demo_is_said_to_draw_is_what_it_draws():
    sample_data, _ = command(["sample_data"])
    defaults = {param.name: param.default for param in sample_data.params}
    images, test, val = (defaults[name] for name in ("images", "test_images", "val_split"))
    said = " ".join(README.split())
    assert f"draws {images + test} pictures" in said
    assert f"on {images * (100 - val) / 100:.0f} of them" in said
    assert f"on {images * val / 100:.0f} others" in said
    assert f"in the last {test}" in said
    assert "sample_data $(RUN)\n" in (ROOT / "Makefile").read_text()  # with these defaults
