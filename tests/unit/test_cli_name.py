"""`wherry name` over a session of the test's own: how a follower ends, and what is said of options."""

from __future__ import annotations

import os
import signal

import pytest

from wherry_cli.signals import Interrupted

NAME = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"


@pytest.fixture
def following(fake_session):
    """Makes a session that does something as a look does, and is stopped."""

    def made(look=lambda: None):
        async def follow_name(name, **options):
            look()
            raise Interrupted(signal.SIGINT)
            yield

        session = fake_session()
        session.follow_name = follow_name
        return session

    return made


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (None, "no version came whole, so no link was made"),
        ("now.versions/bafkqaaa", "the link leads to the last whole version"),
        ("elsewhere", "no version came whole, so the link is as it was"),
    ],
)
def test_a_stopped_follower_says_where_the_link_leads_now(  # noqa: PLR0917 - fixtures, not arguments
    tmp_path, capsys, go, following, to, said
):
    link = tmp_path / "now"
    argv = ["name", "follow", NAME, "--link", f"{link}/"]
    assert go(following(lambda: to and os.symlink(to, link)), *argv) == 130
    assert f"wherry: stopped; {said}\n" in capsys.readouterr().err
    assert go(following(), *argv) == 130  # it was there before
    assert f"wherry: stopped; {said}\n" in capsys.readouterr().err


def test_without_a_link_a_stopped_follower_speaks_of_none(capsys, go, following):
    assert go(following(), "name", "follow", NAME) == 130
    assert capsys.readouterr().err == "wherry: stopped\n"
