"""Completion: `mta completion`, what makes a shell complete commands, options, queue ids and destinations."""

import click
from click.shell_completion import get_completion_class

from mta.cli.common import NotDone, configured


@click.command()
@configured
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(config_file: str | None, shell: str) -> None:
    """Print the script that makes a shell complete the words of this command.

    It completes commands, options, states, queue ids and destinations; the latter from the queue of the configuration.

    \b
    bash:  eval "$(mta completion bash)"      in ~/.bashrc
    zsh:   eval "$(mta completion zsh)"       in ~/.zshrc, behind compinit
    fish:  mta completion fish > ~/.config/fish/completions/mta.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise NotDone(f"there is no completion for {shell}")
    from mta.cli.program import program

    # As a name of the program: what is typed, whatever this process was started as.
    click.echo(kind(program, {}, "mta", "_MTA_COMPLETE").source())
