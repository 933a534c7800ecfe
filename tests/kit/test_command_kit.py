"""The contract of commands catches what it is there to catch: for each check there is a command that fails it alone."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import ClassVar

import pytest

from wherry.abc.command import Command
from wherry.errors import HomeBusy
from wherry.testing.checks import checks, failing
from wherry.testing.command import CommandContract


class Sound(Command):
    """Prints its home."""

    def run(self, arguments, invocation):
        parser = argparse.ArgumentParser("wherry acme.where")
        parser.add_argument("--twice", action="store_true")
        return self.go(parser.parse_args(arguments), invocation)  # lets SystemExit through, as any script does

    def go(self, given, invocation):
        if invocation.home.is_file():
            raise HomeBusy("the home is a file")
        invocation.home.mkdir(exist_ok=True)
        self.show(str(invocation.home), invocation)
        return 0

    def show(self, home, invocation):
        print(json.dumps({"schema": "acme.where/1", "home": home}) if invocation.json else home)


class ExplainsItselfToNobody(Sound):
    def run(self, arguments, invocation):
        return 0 if "--help" in arguments else super().run(arguments, invocation)


class TakesAnything(Sound):
    def run(self, arguments, invocation):
        return super().run([word for word in arguments if word == "--help"], invocation)


class PrintsOfSlips(Sound):
    def run(self, arguments, invocation):
        if arguments and arguments[0] != "--help":
            print("slip")
        return super().run(arguments, invocation)


class GivesTrue(Sound):
    def go(self, given, invocation):
        return bool(super().go(given, invocation))


class RunsOnce(Sound):
    def go(self, given, invocation):
        first = not invocation.home.exists()
        return super().go(given, invocation) if first else 9


class AddsWordsToJson(Sound):
    def show(self, home, invocation):
        super().show(home, invocation)
        print("done")


class HasNoSchema(Sound):
    def show(self, home, invocation):
        print(json.dumps({"home": home}) if invocation.json else home)


class SaysMuch(Sound):
    def show(self, home, invocation):
        super().show(home, invocation)
        print("home found", file=sys.stderr)


class ShowsTracebacks(Sound):
    def go(self, given, invocation):
        invocation.home.mkdir(exist_ok=True)
        if not invocation.home.is_dir():
            raise NotADirectoryError(invocation.home)
        return super().go(given, invocation)


class GoesElsewhere(Sound):
    def go(self, given, invocation):
        code = super().go(given, invocation)
        os.environ["ACME"] = f"{id(self)}"
        return code


class LeavesAFileOpen(Sound):
    kept: ClassVar[list] = []

    def go(self, given, invocation):
        code = super().go(given, invocation)
        self.kept.append(open(os.devnull))  # noqa: SIM115 - left open, that is its fault
        return code


BROKEN = {
    ExplainsItselfToNobody: "test_it_explains_itself",
    TakesAnything: "test_an_unknown_option_is_a_usage_error",
    PrintsOfSlips: "test_an_unknown_option_is_a_usage_error",
    GivesTrue: "test_it_succeeds",
    RunsOnce: "test_it_may_run_again",
    AddsWordsToJson: "test_json_is_one_object",
    HasNoSchema: "test_json_is_one_object",
    SaysMuch: "test_quiet_is_quiet",
    ShowsTracebacks: "test_a_home_that_is_none",
    GoesElsewhere: "test_it_leaves_the_process_as_it_was",
    LeavesAFileOpen: "test_it_leaves_the_process_as_it_was",
}


def suite_of(cls):
    class Suite(CommandContract):
        def make_command(self):
            return cls()

    return Suite()


@pytest.fixture(autouse=True)
def tidy(monkeypatch):
    monkeypatch.setenv("ACME", "unset")
    yield
    while LeavesAFileOpen.kept:
        LeavesAFileOpen.kept.pop().close()


def test_every_check_is_proven():
    assert set(BROKEN.values()) == checks(CommandContract)


def test_a_sound_command_keeps_the_contract(tmp_path):
    assert failing(suite_of(Sound), tmp_path) == set()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_command_fails_its_check_and_no_other(broken, tmp_path):
    assert failing(suite_of(broken), tmp_path) == {BROKEN[broken]}
