"""What lies in a library and in folders, as tests compare it."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, links followed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blobs(library: Path) -> dict[str, bytes]:
    """Read all that has a digest for its name."""
    return contents(library / "blobs")


def partials(library: Path) -> list[str]:
    """List what is on its way in."""
    return sorted(path.name for path in (library / "partial").glob("*"))


def settled(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Describe every name below a folder so that any change shows: inode, size, time of change."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if not path.is_dir() or path.is_symlink():
            found[str(path.relative_to(folder))] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
