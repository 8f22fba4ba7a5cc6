"""The content of libraries and folders, for comparison in tests."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, following links."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blobs(library: Path) -> dict[str, bytes]:
    """Read all files whose name is a digest."""
    return contents(library / "blobs")


def partials(library: Path) -> list[str]:
    """List the partial downloads."""
    return sorted(path.name for path in (library / "partial").glob("*"))


def settled(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and ctime of every path below a folder, so that any change shows."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if not path.is_dir() or path.is_symlink():
            found[str(path.relative_to(folder))] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
