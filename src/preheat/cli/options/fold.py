"""Options of `fold`."""

import argparse


def fold(verb: argparse.ArgumentParser) -> None:
    """Add the options of `fold`."""
    group = verb.add_mutually_exclusive_group()
    group.add_argument("--yes", action="store_true", help="fold; without it, only list duplicates")
    group.add_argument("--dry-run", action="store_true", help="only list duplicates (the default)")
    group.add_argument("--undo", action="store_true", help="restore every folded file as it was")
    verb.add_argument(
        "--watch",
        action="store_true",
        help="stay up, and fold what apps download later; without --yes, only report new duplicates",
    )
    verb.add_argument(
        "--timer",
        metavar="DIR",
        help="write a systemd service and its timer, which fold, to DIR: ~/.config/systemd/user for a user's own",
    )
    verb.add_argument("--every", metavar="TIME", help="how often to look (default: --watch 1m, --timer 15m)")
    verb.add_argument(
        "--settle",
        metavar="TIME",
        help="leave out files that have changed within TIME (default 0s; --watch and --timer 1m)",
    )
    verb.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="DIR",
        help="also look in DIR: an app's installation, or a folder of models; repeatable",
    )
    verb.add_argument(
        "--copy",
        action="store_true",
        help="also fold files on other filesystems: one copy in the library, and symlinks where the app accepts them",
    )
    verb.add_argument("--report", metavar="FILE", help="also write a report to this HTML file")
    verb.add_argument("--lang", choices=["en", "zh"], default="en", help="language of the report (default en)")


FOLD = (
    "fold",
    "keep one copy of each model file for all apps on this machine, as links; undo it at any time",
    fold,
    """\
  preheat fold                                   list the models in the apps' folders, and the duplicates
  preheat fold --report fold.html                the same as a page
  preheat fold --yes                             keep one copy of each; the apps' files become links to it
  preheat fold --undo                            restore every file as it was
  preheat fold --watch --yes                     stay up, and fold what apps download later
  preheat fold --timer ~/.config/systemd/user    the same by systemd, every 15 minutes
  preheat fold --also /mnt/models --json         look in another folder too; JSON for scripts""",
)
