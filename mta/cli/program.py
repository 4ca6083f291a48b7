"""Program: the table of the commands, each of which is imported only when it is used, so that listings start fast."""

import gc
from importlib import import_module
from typing import Final

import click
from click.shell_completion import CompletionItem

# By name: the module of this package that has it, and what it does in a few words.
COMMANDS: Final = {
    "start": ("start", "Start the relay in the foreground."),
    "restart": ("restart", "Start the running relay anew, with nobody refused."),
    "check": ("check", "Check the configuration, and say what is dangerous in it."),
    "doctor": ("doctor", "Examine whether this relay is ready for the world."),
    "queue": ("queue", "List what is in the queue."),
    "show": ("show", "Tell the story of a message."),
    "explain": ("explain", "Tell what would become of a mail."),
    "cat": ("cat", "Print a message as it is sent on."),
    "retry": ("verbs", "Have mail tried at once."),
    "hold": ("verbs", "Keep mail from being tried."),
    "release": ("verbs", "End a hold."),
    "bounce": ("verbs", "Return mail to its senders as failed."),
    "drop": ("verbs", "Remove mail; nobody is told."),
    "forecast": ("forecast", "Say when mail is going to be tried, warned about, returned."),
    "audit": ("audit", "Say what has become of all mail, and whether the sums match."),
    "account": ("account", "Who may log in here: add, remove or list accounts."),
    "completion": ("completion", "Print what makes a shell complete all this."),
    "sendmail": ("sendmail", "Send a message as sendmail(8) does, for programs of this machine."),
    "sink": ("sink", "A toy next hop that prints what it gets."),
}


class Program(click.Group):
    """The commands of the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"mta.cli.{module}"), cmd_name)
        if not gc.isenabled():  # as `main` began it
            gc.freeze()
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of them for --help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Their names that begin so, without importing any."""
        names = [
            CompletionItem(name, help=summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.command(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
def program() -> None:
    """Look after a mail relay. The commands work on its spool, whether it runs or not.

    Exit status: 0 done, 1 not done (standard error says why), 2 used wrongly.
    """
