"""The parser of one verb equals that of the whole command line."""

import argparse

import pytest

from preheat.cli.parser import parser


def _verbs(form: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    [verbs] = [one for one in form._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(verbs.choices)


@pytest.mark.parametrize("verb", _verbs(parser()))
def test_the_parser_of_one_verb_has_the_same_options(verb: str) -> None:
    [(name, own)] = _verbs(parser(verb)).items()
    assert name == verb
    assert own.format_help() == _verbs(parser())[verb].format_help()


@pytest.mark.parametrize("word", ["", "--help", "sing"])
def test_any_other_first_argument_gets_all_verbs(word: str) -> None:
    assert _verbs(parser(word)).keys() == _verbs(parser()).keys()
