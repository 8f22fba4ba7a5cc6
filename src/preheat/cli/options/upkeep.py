"""Options of `adopt`, `ls`, `show`, `pin`, `unpin`, `rm`, `prune` and `verify`."""

import argparse
from collections.abc import Callable

Build = Callable[[argparse.ArgumentParser], None]


def upkeep(pulling: Build) -> tuple[tuple[str, str, Build, str], ...]:
    """List the verbs: name, what it does, what adds its words, examples. `pulling` adds the words for a pull."""

    def verify(verb: argparse.ArgumentParser) -> None:
        verb.add_argument("refs", nargs="*", metavar="REF", help="only what these need (default: everything)")
        verb.add_argument(
            "--since", default="0s", metavar="TIME", help="leave out what was found right in this time: 24h"
        )
        verb.add_argument("--mend", action="store_true", help="pull again what is rotten, by the records that need it")
        pulling(verb)

    return (
        (
            "ls",
            "list the versions in the library, with what each really costs",
            _ls,
            """\
  preheat ls
  preheat ls openai/whisper-tiny.en
  preheat ls --json""",
        ),
        (
            "show",
            "say of a version which files it has, and with whom it shares them",
            _show,
            """\
  preheat show openai/whisper-tiny.en
  preheat show hf:IndexTeam/IndexTTS-2@740dcaff396282ffb241903d150ac011cd4b1ede""",
        ),
        (
            "pin",
            "keep versions, whatever else goes",
            _pin,
            """\
  preheat pin openai/whisper-tiny.en             the commit that main was last seen at""",
        ),
        (
            "unpin",
            "let versions go again",
            _pin,
            """\
  preheat unpin openai/whisper-tiny.en""",
        ),
        (
            "rm",
            "forget versions, and free what only they needed",
            _rm,
            """\
  preheat rm openai/whisper-tiny.en              says what it would free
  preheat rm openai/whisper-tiny.en --yes""",
        ),
        (
            "prune",
            "free what nothing needs any more",
            _prune,
            """\
  preheat prune                                  says what it would free
  preheat prune --old --yes                      versions that no branch or tag names, too""",
        ),
        (
            "verify",
            "hash what the library has again; quarantine what is rotten, and mend it",
            verify,
            """\
  preheat verify
  preheat verify --since 24h                     go on after an interruption
  preheat verify openai/whisper-tiny.en --mend""",
        ),
        (
            "adopt",
            "take other programs' caches into the library, without download and without a second copy",
            _adopt,
            """\
  preheat adopt ~/.cache/huggingface ~/.cache/modelscope ~/.cache/whisper
  preheat adopt ./checkpoints --as IndexTeam/IndexTTS-2
  preheat adopt /mnt/old/cache --copy            from another filesystem""",
        ),
    )


def _ls(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("refs", nargs="*", metavar="REF", help="only these models (default: all)")


def _show(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("ref", metavar="REF", help="a model that is in the library")


def _pin(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("refs", nargs="+", metavar="REF", help="a model that is in the library, and which version of it")


def _removing(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--yes", action="store_true", help="do it; without, only say what would go")
    verb.add_argument(
        "--settle",
        metavar="TIME",
        help="wait so long before removing, for what other machines see to be new (default: 65s on a share, else 0s)",
    )


def _rm(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("refs", nargs="+", metavar="REF", help="a model, and which version of it")
    verb.add_argument("--all", action="store_true", help="all versions of these models")
    _removing(verb)


def _prune(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--old", action="store_true", help="also versions that no branch or tag names and no pin holds")
    verb.add_argument(
        "--younger",
        default="1h",
        metavar="TIME",
        help="leave what came in this time (default 1h; it may be wanted yet)",
    )
    verb.add_argument("--forget", default="", metavar="MACHINE", help="its views are gone: they hold nothing any more")
    _removing(verb)


def _adopt(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("folders", nargs="+", metavar="DIR", help="a cache of Hugging Face's, ModelScope's or whisper's")
    verb.add_argument("--as", dest="ref", metavar="REF", help="DIR is a plain folder of this model's files")
    verb.add_argument("--copy", action="store_true", help="copy what cannot be shared: from another filesystem")
