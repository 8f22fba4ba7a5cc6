"""The `preheat build` command."""

import argparse
from pathlib import Path

from preheat.api.building import ImageBuilder, ImageTerms, check_built, write_docker_context
from preheat.cli.typed_units import read_address, read_period, read_seconds, read_size
from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError
from preheat.core.units import say_count, say_seconds, say_size
from preheat.oci.config.image_config import INTERVAL_S
from preheat.oci.model.image_name import read_base, read_place
from preheat.oci.model.interfaces import HERE, MOUNTED, SENT, SHARED, WRITTEN
from preheat.verbs.building.build import Built
from preheat.verbs.building.image_plan import ImagePlan

_HOW = {
    WRITTEN: "written",
    SENT: "sent",
    SHARED: "shared by reflink",
    HERE: "existed already",
    MOUNTED: "mounted from another repository",
}
_NOT_STARTABLE = (
    "the image cannot be started: scratch has no Python, shell or app to start its command with; use it as a source of "
    "files (COPY --from, a volume), or build on an image that has the app's environment: --base docker://…"
)


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat build`; return the exit status."""
    if options.check:
        return _check(options, wiring)
    if not options.base or not (options.output or options.dockerfile):
        raise UsageError(
            "--base and --output are required", hint="--base IMAGE --output WHERE, or --base scratch for an empty base"
        )
    terms = _terms(options)
    if options.dockerfile:
        folder = Path(options.dockerfile).absolute()
        written = write_docker_context(options.app, wiring, terms, folder)
        figures: dict[str, object] = {"dockerfile": str(folder), "lacks_program": written.lacks_program}
        words = f"docker build --tag {written.app} {folder}"
        wiring.console.done(figures, f"{words}\n{_NOT_STARTABLE}" if written.lacks_program else words)
        return 0
    builder, output = ImageBuilder(options.app, wiring, terms), str(read_place(options.output))
    plan = builder.plan()
    if options.dry_run:
        return _report(plan, output, wiring, lacks_program=builder.lacks_program)
    built = builder.build(plan)
    figures = {"image": output, "digest": built.digest, "size": built.size, "layers": built.layers}
    figures |= {"lacks_program": builder.lacks_program, "took": dict(built.took)}
    wiring.console.done(figures, _sentence(built, output) + (f"\n{_NOT_STARTABLE}" if builder.lacks_program else ""))
    return 0


def _report(plan: ImagePlan, output: str, wiring: Wiring, *, lacks_program: bool) -> int:
    """Print the plan; raise ImageError if it does not fit on the disk."""
    disk, parts = plan.disk, plan.parts
    figures = {
        "image": output,
        "size": plan.size,
        "missing": plan.to_write,
        "layers": [
            {"name": one.name, "size": one.size, "digest": str(one.digest or "") or None, "present": one.present}
            for one in parts
        ],
        "needed": None if disk is None else disk.needed,
        "free": None if disk is None else disk.free,
        "fits": disk is None or disk.fits,
        "lacks_program": lacks_program,
    }
    present = f"{say_size(plan.size - plan.to_write)} in {sum(one.present for one in parts)}"
    words = f"{output}: {say_size(plan.size)} in {say_count(len(parts), 'layer')}, of which {present} exist already"
    words = f"{words}; {say_size(plan.to_write)} to write"
    wiring.console.done(figures, f"{words}\n{_NOT_STARTABLE}" if lacks_program else words)
    plan.require()
    return 0


def _terms(options: argparse.Namespace) -> ImageTerms:
    read_address(options.status)
    return ImageTerms(
        base=options.base or "",
        output=options.output or "",
        inside=options.inside or "",
        platform=options.platform or "",
        format=options.format,
        max_layer_size=read_size(options.max_layer_size) if options.max_layer_size else 0,
        command=tuple(options.command),
        status=options.status if options.guard else "",
        port=options.port,
        health_interval_s=read_period(options.health_interval) if options.health_interval else INTERVAL_S,
        plain_http=tuple(options.plain_http),
    )


def _check(options: argparse.Namespace, wiring: Wiring) -> int:
    checked = check_built(options.check, wiring, _terms(options), read_seconds(options.ready_within))
    ready = "" if checked.ready_s is None else f", ready after {say_seconds(checked.ready_s)} without a network"
    image = str(read_base(options.check))
    figures = {"image": image, "files": checked.files, "ready_s": checked.ready_s}
    wiring.console.done(figures, f"{say_count(checked.files, 'file')} matched the lock in {image}{ready}")
    return 0


def _sentence(built: Built, output: str) -> str:
    took = ", ".join(f"{say_size(size)} {_HOW[how]}" for how, size in sorted(built.took.items()) if size)
    return f"{output} is {built.digest}\n{say_size(built.size)} in {say_count(built.layers, 'layer')}: {took}"
