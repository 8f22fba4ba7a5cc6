"""Depends: what the files that an app's start made depend on, and whether it is the same here."""

from collections.abc import Mapping

import msgspec

from preheat.recipes.app_python import AppPython


class Depends(msgspec.Struct, frozen=True):
    """What made files depend on; an empty field does not matter.

    `python` is `3.11`, `machine` as in uname(2), `packages` maps Python packages to versions, `gpu` is a GPU's name.
    """

    python: str = ""
    machine: str = ""
    packages: Mapping[str, str] = {}
    gpu: str = ""

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """Return the fields that are not empty, without `packages`, as name and text."""
        named = (("python", self.python), ("machine", self.machine), ("gpu", self.gpu))
        return tuple((name, text) for name, text in named if text)

    def fits(self, environment: AppPython) -> tuple[str, ...]:
        """Return the reasons why the files do not fit `environment`; empty if they fit."""
        wanted = [("Python", self.python, environment.python), ("machine", self.machine, environment.machine)]
        if self.gpu:
            wanted.append(("GPU", self.gpu, environment.gpu))
        wanted += [(name, version, environment.version(name)) for name, version in sorted(self.packages.items())]
        return tuple(
            f"{what} is {found or 'unknown'}, not {version}"
            for what, version, found in wanted
            if version != found
            if version
        )


class DependsForm(msgspec.Struct, forbid_unknown_fields=True):
    """A `depends` table of a recipe or lock."""

    python: str = ""
    machine: str = ""
    packages: dict[str, str] = {}
    gpu: str = ""


def read_depends(form: DependsForm | None) -> Depends | None:
    """Return the value of a `depends` table; None if there is none."""
    return None if form is None else Depends(form.python, form.machine, form.packages, form.gpu)
