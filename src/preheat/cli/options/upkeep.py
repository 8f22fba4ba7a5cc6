"""Options of `status`, `adopt`, `ls`, `show`, `pin`, `unpin`, `rm`, `prune` and `verify`."""

import argparse
from collections.abc import Callable

from preheat.cli.options.connection_options import add_scan_option

Build = Callable[[argparse.ArgumentParser], None]


def upkeep_verbs(add_download_options: Build) -> tuple[tuple[str, str, Build, str], ...]:
    """Return the verbs: name, help, function that adds the options, examples. The argument adds a pull's options."""

    def verify(verb: argparse.ArgumentParser) -> None:
        verb.add_argument("refs", nargs="*", metavar="REF", help="verify only these models (default: all blobs)")
        verb.add_argument(
            "--since", default="0s", metavar="TIME", help="skip blobs that were verified within TIME: 24h"
        )
        verb.add_argument("--mend", action="store_true", help="download corrupt blobs again")
        add_download_options(verb)

    return (
        (
            "status",
            "show the library, what runs, what is stale, and what to do next",
            _nothing_more,
            """\
  preheat status
  preheat status --json""",
        ),
        (
            "ls",
            "list the versions in the library, with their real disk usage",
            _ls,
            """\
  preheat ls
  preheat ls openai/whisper-tiny.en
  preheat ls 'openai/*'
  preheat ls --json""",
        ),
        (
            "show",
            "show a version's files, and which of them other versions share",
            _show,
            """\
  preheat show openai/whisper-tiny.en
  preheat show hf:IndexTeam/IndexTTS-2@740dcaff396282ffb241903d150ac011cd4b1ede""",
        ),
        (
            "pin",
            "protect versions from removal",
            _pin,
            """\
  preheat pin openai/whisper-tiny.en             the commit of main when last seen""",
        ),
        (
            "unpin",
            "allow removal of pinned versions again",
            _pin,
            """\
  preheat unpin openai/whisper-tiny.en""",
        ),
        (
            "rm",
            "remove versions, and free the disk space that only they use",
            _rm,
            """\
  preheat rm openai/whisper-tiny.en              show what it would free
  preheat rm openai/whisper-tiny.en --yes""",
        ),
        (
            "prune",
            "free disk space that no version needs",
            _prune,
            """\
  preheat prune                                  show what it would free
  preheat prune --old --yes                      also versions that no branch or tag refers to
  preheat prune --unread                         show what traced apps downloaded and never opened""",
        ),
        (
            "verify",
            "hash the library's blobs; quarantine corrupt ones, and repair them with --mend",
            verify,
            """\
  preheat verify
  preheat verify --since 24h                     continue after an interruption
  preheat verify openai/whisper-tiny.en --mend""",
        ),
        (
            "adopt",
            "add other programs' caches to the library, without a download or a second copy",
            _adopt,
            """\
  preheat adopt ~/.cache/huggingface ~/.cache/modelscope ~/.cache/whisper
  preheat adopt ~/.ollama/models
  preheat adopt ./checkpoints --as IndexTeam/IndexTTS-2
  preheat adopt /mnt/old/cache --copy            from another filesystem""",
        ),
    )


def _nothing_more(verb: argparse.ArgumentParser) -> None:
    """Add no options."""


def _ls(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "refs", nargs="*", metavar="REF|GLOB", help="list only these models, also by glob: 'openai/*' (default: all)"
    )


def _show(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("ref", metavar="REF", help="a model in the library, or memory:APP for a memory snapshot")


def _pin(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("refs", nargs="+", metavar="REF", help="a model in the library, with its revision")


def _removing(verb: argparse.ArgumentParser) -> None:
    group = verb.add_mutually_exclusive_group()
    group.add_argument("--yes", action="store_true", help="remove; without it, only show what would be removed")
    group.add_argument("--dry-run", action="store_true", help="only show what would be removed (the default)")
    verb.add_argument(
        "--settle",
        metavar="TIME",
        help="wait for TIME before removing, for other machines' changes to appear (default: 65s on a share, else 0s)",
    )


def _rm(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "refs", nargs="+", metavar="REF", help="a model, with its revision, or memory:APP for a memory snapshot"
    )
    verb.add_argument("--all", action="store_true", help="all versions of these models")
    _removing(verb)


def _prune(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--old", action="store_true", help="also remove unpinned versions that no branch or tag refers to"
    )
    verb.add_argument(
        "--unread",
        action="store_true",
        help="also remove files that a traced app downloaded and no start opened, unless something else needs them",
    )
    verb.add_argument(
        "--memory-snapshots", dest="memory", action="store_true", help="also remove the memory snapshots of all apps"
    )
    verb.add_argument(
        "--younger",
        default="1h",
        metavar="TIME",
        help="keep files added within TIME (default 1h), which may still be needed",
    )
    verb.add_argument(
        "--forget", default="", metavar="MACHINE", help="ignore the views of MACHINE, which no longer exist"
    )
    _removing(verb)


def _adopt(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "folders", nargs="+", metavar="DIR", help="a cache of Hugging Face, ModelScope or whisper, or Ollama's store"
    )
    verb.add_argument("--as", dest="ref", metavar="REF", help="adopt DIR as a plain folder of this model's files")
    verb.add_argument("--dry-run", action="store_true", help="show what would be adopted, and change nothing")
    verb.add_argument(
        "--copy", action="store_true", help="copy files instead of hard-linking them; required for another filesystem"
    )
    verb.add_argument(
        "--share", action="store_true", help="also adopt files that other users cannot read now, but can in the library"
    )
    add_scan_option(verb)
