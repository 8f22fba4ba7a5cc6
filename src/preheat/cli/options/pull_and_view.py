"""Options of `pull` and `view`, and those of the verbs that place views."""

import argparse

from preheat.cli.options.connection_options import add_download_options, add_plain_http_option


def pull(verb: argparse.ArgumentParser) -> None:
    """Add the options of `pull`."""
    verb.add_argument(
        "what",
        nargs="*",
        metavar="REF|APP",
        help="a model (owner/name[@revision], file:DIR), a built-in recipe, or a preheat.toml (default: the one here)",
    )
    add_dir_option(verb)
    _files(verb)
    verb.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="KIND=DIR",
        help="place a view in DIR: hf-cache=DIR, comfyui=DIR; repeatable",
    )
    _model_kind(verb)
    _hf_words(verb)
    verb.add_argument(
        "--from",
        dest="images",
        action="append",
        default=[],
        metavar="PLACE",
        help="take the files from an object store, as push fills it: s3://BUCKET/PREFIX, gs://…, az://…, or "
        "https://HOST/PREFIX if anyone can read it; or from an image: docker://REGISTRY/REPOSITORY@sha256:HEX, or in a "
        "file, as build writes it: oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE; the hubs are asked only for "
        "models that it lacks; repeatable",
    )
    add_plain_http_option(verb)
    verb.add_argument(
        "--dry-run",
        action="store_true",
        help="show download size, free disk space and estimated time; download nothing",
    )
    add_optional_option(verb)
    add_locked_option(verb)
    add_adopt_option(verb)
    add_link_option(verb)
    add_download_options(verb)


def view(verb: argparse.ArgumentParser) -> None:
    """Add the options of `view`."""
    verb.add_argument(
        "kind",
        metavar="KIND",
        help="the layout: hf-cache, local-dir, modelscope, modelscope-old, flat, whisper or torch-hub; or an app, "
        "which gets each file in its folder for the kind of model: comfyui, comfyui-paths, a1111, forge, sdnext, "
        "swarmui, fooocus, invokeai, stability-matrix, gpt4all, text-generation-webui, llama-cpp, lm-studio or ollama",
    )
    verb.add_argument("at", metavar="DIR", help="the folder to place it in")
    verb.add_argument("refs", nargs="+", metavar="REF", help="a model in the library")
    _files(verb)
    _model_kind(verb)
    verb.add_argument("--dry-run", action="store_true", help="show what is copied or in the way; place nothing")
    add_link_option(verb)


def _model_kind(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--model-kind",
        metavar="KIND",
        help="in the view of an app: the kind of all files (checkpoint, lora, vae, controlnet, clip, clip-vision, "
        "unet, embedding, upscaler, hypernetwork or gguf), instead of the kind that is read from each file",
    )


def _files(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--files",
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="only matching files, or with !GLOB all others; repeatable",
    )


def _hf_words(verb: argparse.ArgumentParser) -> None:
    """Add the options of `hf download` and `modelscope download`."""
    group = verb.add_argument_group("as in hf download and modelscope download")
    group.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="not matching files; repeatable: --files !GLOB"
    )
    group.add_argument("--revision", metavar="NAME", help="the branch, tag or commit: owner/name@NAME")
    group.add_argument(
        "--repo-type", "--repo_type", choices=["model", "dataset", "space"], help="dataset: hf:datasets/owner/name"
    )
    group.add_argument(
        "--local-dir", "--local_dir", metavar="DIR", help="also place the files in DIR: --view local-dir=DIR"
    )
    group.add_argument(
        "--cache-dir", "--cache_dir", metavar="DIR", help="also place a hub's cache in DIR: --view hf-cache=DIR"
    )
    group.add_argument(
        "--token", metavar="TOKEN", help="the hub's token, which other users of this machine can see: better HF_TOKEN"
    )


def add_dir_option(verb: argparse.ArgumentParser) -> None:
    """Add `--dir`."""
    verb.add_argument(
        "--dir", metavar="DIR", help="the app's folder, for a built-in recipe (default: the current folder)"
    )


def add_locked_option(verb: argparse.ArgumentParser) -> None:
    """Add `--locked`."""
    verb.add_argument("--locked", action="store_true", help="fail (exit status 8) if the lock is missing or stale")


def add_optional_option(verb: argparse.ArgumentParser) -> None:
    """Add `--no-optional`."""
    verb.add_argument(
        "--no-optional",
        dest="optional",
        action="store_false",
        help="leave out the recipe's optional needs: the app starts without them",
    )


def add_adopt_option(verb: argparse.ArgumentParser) -> None:
    """Add `--no-adopt`."""
    verb.add_argument(
        "--no-adopt",
        dest="adopt",
        action="store_false",
        help="download files also if the caches of huggingface_hub, ModelScope, whisper, torch or Ollama have them",
    )


def add_place_options(verb: argparse.ArgumentParser) -> None:
    """Add the options for files in the way of a view."""
    group = verb.add_mutually_exclusive_group()
    group.add_argument(
        "--replace",
        action="store_true",
        help="move files aside that a view needs to replace and preheat did not place (NAME.before-preheat)",
    )
    group.add_argument("--keep", action="store_true", help="keep such files, and place the rest of the view")
    verb.add_argument(
        "--allow-place",
        action="append",
        default=[],
        metavar="DIR",
        help="also allow views in DIR, outside the app's folder; repeatable",
    )


def add_link_option(verb: argparse.ArgumentParser) -> None:
    """Add the options of a verb that places views."""
    add_place_options(verb)
    verb.add_argument(
        "--link",
        choices=["auto", "reflink", "hardlink", "symlink", "copy"],
        default="auto",
        help="how to link a view's files to the library (default auto: the first way that works)",
    )
