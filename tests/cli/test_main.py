import logging
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from frcnn_core import cli
from frcnn_core.cli import options, terminal
from frcnn_core.errors import FrcnnError


@pytest.fixture
def run(monkeypatch):
    """Run ``frcnn try ...`` for a command made of a function."""

    def run(function, *words):
        command = click.command("try")(function)
        monkeypatch.setattr(cli, "COMMANDS", {"try": "frcnn_core.cli.try:command"})
        module = type(sys)("frcnn_core.cli.try")
        module.command = command
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return CliRunner().invoke(cli.main, ["try", *words])

    return run


def test_an_error_meant_for_the_user_is_its_message_and_exit_code_2(run):
    def fail():
        raise FrcnnError("model_config.arch: no backbone is called 'resnt'.")

    result = run(fail)
    assert result.exit_code == 2
    assert result.stderr == "Error: model_config.arch: no backbone is called 'resnt'.\n"
    assert result.stdout == ""


def test_a_bug_keeps_its_traceback(run):
    def fail():
        raise ZeroDivisionError("3 / 0")

    assert isinstance(run(fail).exception, ZeroDivisionError)


def test_ctrl_c_exits_with_130(run):
    def interrupted():
        raise KeyboardInterrupt

    result = run(interrupted)
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_a_mistyped_command_says_what_to_type_instead():
    result = CliRunner().invoke(cli.main, ["trian"])
    assert result.exit_code == 2
    assert "No such command 'trian'. Did you mean 'train'?" in result.stderr


def test_every_command_that_is_listed_can_be_imported():
    context = click.Context(cli.main)
    for name in cli.COMMANDS:
        assert isinstance(cli.main.get_command(context, name), click.Command), name


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(cli.main, [command, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert version("frcnn") in CliRunner().invoke(cli.main, ["--version"]).stdout


@pytest.mark.parametrize(
    "words, indices",
    [
        ([], ()),
        (["--gpu_index", "1"], (1,)),
        (["--gpu_index", "0", "1", "2"], (0, 1, 2)),
        (["--gpu_index", "0", "--gpu_index", "1"], (0, 1)),
        (["--gpu_index", "0", "1", "--use_amp"], (0, 1)),
    ],
)
def test_an_option_takes_several_values_as_tlt_writes_them(run, words, indices):
    @options.gpu_index
    @options.use_amp
    def show(gpu_index, use_amp):
        click.echo(gpu_index)

    assert run(show, *words).stdout == f"{indices}\n"


@pytest.mark.parametrize("flag", ["-e", "--experiment_spec", "--experiment_spec_file"])
def test_the_spec_is_given_in_the_spelling_of_tlt_or_of_tao(run, tmp_path, flag):
    @options.experiment_spec
    def show(experiment_spec):
        click.echo(experiment_spec.name)

    spec = tmp_path / "spec.txt"
    spec.touch()
    assert run(show, flag, str(spec)).stdout == "spec.txt\n"


def test_a_spec_that_is_not_there_is_an_error_before_anything_runs(run):
    @options.experiment_spec
    def show(experiment_spec):
        raise AssertionError

    result = run(show, "-e", "not_there.txt")
    assert result.exit_code == 2
    assert "File 'not_there.txt' does not exist." in result.stderr


@pytest.mark.parametrize("flag", ["-k", "--key", "--enc_key"])
def test_the_key_is_given_in_the_spelling_of_tlt_or_of_tao(run, flag):
    @options.key
    def show(key):
        click.echo(key)

    assert run(show, flag, "secret").stdout == "secret\n"


@pytest.mark.parametrize(
    "words, values",
    [
        ([], (None, None, -1)),
        (["-r", "out", "--gpus", "2", "-np", "4"], ("out", 2, 4)),
        (["--results_dir", "out", "--num_processes", "4"], ("out", None, 4)),
    ],
)
def test_the_options_of_the_launcher_have_its_spelling_and_defaults(run, words, values):
    @options.results_dir
    @options.gpus
    @options.num_processes
    def show(results_dir, gpus, num_processes):
        click.echo((results_dir and str(results_dir), gpus, num_processes))

    assert run(show, *words).stdout == f"{values}\n"


def test_what_was_typed_can_be_given_to_another_process(run, tmp_path):
    @options.experiment_spec
    @options.key
    @options.gpus
    @options.gpu_index
    @options.use_amp
    @options.hosts
    @options.terminal
    @click.pass_context
    def show(ctx, **given):
        click.echo("\n".join(options.typed(ctx, but={"hosts", "log_file"})))

    spec, log = tmp_path / "a spec.txt", tmp_path / "log.txt"
    spec.touch()
    flags = ("-k", "-x y", "--gpu_index", "0", "1", "--use_amp", "--hosts", "a:1", "-v")
    result = run(show, "-e", str(spec), *flags, "--log_file", str(log))
    assert sorted(result.stdout.splitlines()) == [
        "--enc_key=-x y",
        f"--experiment_spec_file={spec}",
        "--gpu_index=0",
        "--gpu_index=1",
        "--use_amp",
        "--verbose",
    ]


@pytest.fixture
def talk():
    """A command that speaks in every way a command can."""

    @options.terminal
    def talk():
        click.echo("result")
        logging.getLogger("frcnn_core.training.trainer").info("epoch 1")
        logging.getLogger("frcnn_core.training.trainer").debug("batch 7")
        logging.getLogger("other_package").info("chatter")
        logging.getLogger("other_package").warning("trouble")
        raise FrcnnError("no disk space.")

    return talk


def test_messages_go_to_stderr_ours_from_info_on_and_others_from_warning_on(run, talk):
    result = run(talk)
    assert result.stdout == "result\n"
    assert result.stderr == "epoch 1\nWarning: trouble\nError: no disk space.\n"


def test_verbose_shows_debugging_messages_too(run, talk):
    assert "batch 7\n" in run(talk, "-v").stderr


def test_after_a_command_logging_is_as_it_was(run, talk):
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    run(talk)
    assert (root.level, list(root.handlers)) == before


def test_the_log_file_gets_all_that_the_terminal_shows_after_what_was_there(run, talk, tmp_path):
    log = tmp_path / "new_folder" / "log.txt"
    log.parent.mkdir()
    log.write_text("yesterday\n")
    result = run(talk, "--log_file", str(log))
    assert result.stdout == "result\n"
    assert log.read_text() == (
        "yesterday\nresult\nepoch 1\nWarning: trouble\nError: no disk space.\n"
    )


def test_the_log_file_gets_the_traceback_of_a_bug(run, tmp_path):
    @options.terminal
    def fail():
        raise ZeroDivisionError("3 / 0")

    log = tmp_path / "new_folder" / "log.txt"
    run(fail, "--log_file", str(log))
    assert log.read_text().endswith("ZeroDivisionError: 3 / 0\n")


def test_a_log_file_that_cannot_be_opened_is_an_error(run, talk, tmp_path):
    result = run(talk, "--log_file", str(tmp_path))
    assert result.exit_code == 2
    assert "--log_file" in result.stderr


def test_of_a_progress_bar_the_log_file_keeps_the_last_state(tmp_path, capsys):
    log = tmp_path / "log.txt"
    with terminal.copied_to(log):
        for done in ("10 %", "50 %", "100 %"):
            sys.stdout.write(f"\r\x1b[32m{done}\x1b[0m")
        sys.stdout.write("\nended")
    assert log.read_text() == "100 %\nended\n"
    assert capsys.readouterr().out.endswith("100 %\x1b[0m\nended")


@pytest.mark.slow
def test_loading_tensorflow_is_quiet():
    code = (
        "from frcnn_core.cli.terminal import load_tensorflow; load_tensorflow();"
        "import tensorflow as tf; tf.constant(1) + 1"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
