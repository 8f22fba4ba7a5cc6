"""Options of `fold`."""

import argparse


def fold(verb: argparse.ArgumentParser) -> None:
    """Add the options of `fold`."""
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
    verb.add_argument("--report", metavar="FILE", help="also write the result as an HTML page")
    verb.add_argument("--lang", choices=["en", "zh"], default="en", help="language of the report (default en)")


FOLD = (
    "fold",
    "show what the model folders of all apps on this machine have twice",
    fold,
    """\
  preheat fold                                   what lies in the apps' folders, and what of it twice
  preheat fold --report fold.html                the same as a page
  preheat fold --also /mnt/models --json         with further folders, for programs""",
)
