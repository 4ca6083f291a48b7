"""Show: `mta show`, the envelope and the timeline of a message, also for some days after it has gone."""

import time

import click

from mta.cli.common import NotDone, configured, id_of, one_message, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import print_json, print_lines
from mta.operating.facts import facts
from mta.operating.listing import story_to_json
from mta.operating.story import tell
from mta.spool.matching import Selection


@click.command()
@configured
@one_message
@with_json
def show(config_file: str | None, number: int, as_json: bool) -> None:
    """Tell the story of a message: its envelope, each try with what was said, and how it ended.

    It can be told for some days after the message has gone (history: in the configuration). Times are UTC.
    """
    with desk_of(configuration(config_file)) as desk:
        story = desk.story(number)
        queued = desk.queue(Selection(ids=frozenset({number})), limit=1)
    if story is None:
        raise NotDone(f"no message {id_of(number)} is known here, or it ended too long ago")
    waiting = queued[0].recipients if queued else ()
    if as_json:
        print_json(story_to_json(story, waiting))
    else:
        print_lines(facts(story, waiting, time.time()))
        click.echo()
        print_lines([tell(event) for event in story.events])
