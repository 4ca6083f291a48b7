"""Case 27: addresses in the forms of SRS, VERP, BATV and the like, guessed by somebody who wants us to decode them.

This relay makes no such address yet, so it reads none: a local part is a name and nothing else.
"""

from pathlib import Path

import pytest
from attack_ground import GREETED, SENDER, Victim

FORMS = [
    "SRS0=HHH=TT=else.example=victim",
    "SRS0+HHH=TT=else.example=victim",
    "srs0=hhh=tt=else.example=victim",
    "SRS1=HHH=else.example==HHH=TT=third.example=victim",
    "prvs=0123456789=jones",
    "btv1==012==jones",
    "bounces+victim=else.example",
    "team-return-1-victim=else.example",
    "team-owner+victim=else.example",
    "jones+victim=else.example",
    "victim=else.example",
    "owner-team=victim=else.example",
    "msprvs1=17abc=jones",
]


@pytest.mark.parametrize("sender", [SENDER, "MAIL FROM:<>"])
@pytest.mark.parametrize("form", FORMS)
def test_where_local_names_are_known_it_is_no_name(tmp_path: Path, form: str, sender: str) -> None:
    victim = Victim(tmp_path)
    victim.say(GREETED, sender)
    assert victim.say(f"RCPT TO:<{form}@example.org>")[0][:9] == "550 5.1.1"


@pytest.mark.parametrize("relaying", ["", "yes"])
@pytest.mark.parametrize("form", FORMS)
def test_elsewhere_it_goes_where_its_domain_says_and_as_it_is(tmp_path: Path, form: str, relaying: str) -> None:
    victim = Victim(tmp_path, **({"relaying": relaying} if relaying else {}))
    victim.say(GREETED, SENDER, f"RCPT TO:<{form}@example.net>", "DATA", "Subject: x", "", ".")
    [claim] = victim.claims
    assert [one.address for one in claim.envelope.recipients] == [f"{form}@example.net"]
    assert claim.envelope.sender == "smith@client.example.com", "nor is the reverse-path written anew"
