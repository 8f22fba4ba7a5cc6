"""Archives: scan the members of zip and tar files, and compressed streams."""

import io
import posixpath
import struct
import tarfile
import zipfile
from typing import IO

from preheat.scan.findings import ScanFindings
from preheat.scan.kinds import TAIL, unpack

_MOST_MEMBERS = 100_000
_LONGEST_MEMBER = 512 << 20
_OUTSIDE = "a member that is unpacked outside the archive's folder"
_ENCRYPTED = 1
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zip_members(file: IO[bytes], findings: ScanFindings) -> "list[zipfile.ZipInfo]":
    """Return the files of a zip. If programs could read different contents from the zip, add that to `findings`."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        findings.unread.add(f"it is a zip that cannot be read: {type(error).__name__}")
        return []
    with archive:
        listed = archive.infolist()
        if len(listed) > _MOST_MEMBERS:
            findings.unread.add(f"it is a zip with more than {_MOST_MEMBERS} members")
            return []
        names = [one.filename for one in listed]
        if len(set(names)) != len(names):
            findings.unread.add("it is a zip with two members of the same name")
        for one in listed:
            if not _stays_inside(one.filename):
                findings.holds.add(_OUTSIDE)
            if trouble := _trouble(file, one):
                findings.unread.add(f"it is a zip whose {one.filename!r} {trouble}")
    file.seek(0)
    if min((one.header_offset for one in listed), default=1) != 0 and file.read(4) == b"PK\x03\x04":
        findings.unread.add("it is a zip that starts with members missing from its directory")
    file.seek(max(file.seek(0, io.SEEK_END) - TAIL, 0))
    if file.read().count(b"PK\x05\x06") > 1:
        findings.unread.add("it is a zip with two directories")
    return [one for one in listed if not one.is_dir()]


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, findings: ScanFindings) -> IO[bytes] | None:
    """Open a member of a zip. If the member is too large or cannot be read, return None and add that to `findings`."""
    if member.file_size > _LONGEST_MEMBER and member.compress_type != zipfile.ZIP_STORED:
        findings.unread.add(f"{member.filename!r} in it unpacks to more than {_LONGEST_MEMBER >> 20} MiB")
        return None
    try:
        return archive.open(member)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        findings.unread.add(f"{member.filename!r} in it cannot be read: {type(error).__name__}")
        return None


def tar_members(file: IO[bytes], findings: ScanFindings) -> "list[tuple[str, int, int]]":
    """Return the regular files of an uncompressed tar: names, offsets and sizes in bytes."""
    found = []
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                # A hard link is relative to the archive, a symlink to its own folder.
                folder = posixpath.dirname(member.name) if member.issym() else ""
                linked = posixpath.join(folder, member.linkname) if member.issym() or member.islnk() else ""
                if not (_stays_inside(member.name) and _stays_inside(linked)):
                    findings.holds.add(_OUTSIDE)
                if member.isreg():
                    found.append((member.name, member.offset_data, member.size))
                if len(found) > _MOST_MEMBERS:
                    findings.unread.add(f"it is a tar with more than {_MOST_MEMBERS} members")
                    break
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError) as error:
        findings.unread.add(f"it is a tar that cannot be read: {type(error).__name__}")
    return found


def _stays_inside(name: str) -> bool:
    name = posixpath.normpath(name.replace("\\", "/"))
    return not (name.startswith(("/", "../")) or name == "..")


def unpacked(kind: str, file: IO[bytes], findings: ScanFindings) -> IO[bytes] | None:
    """Decompress a file into memory. If its data is broken or too long, return None and add that to `findings`."""
    body = unpack(kind, file.read(_LONGEST_MEMBER), _LONGEST_MEMBER)
    if body is None:
        findings.unread.add(f"it is {kind} data that is broken, or unpacks to more than {_LONGEST_MEMBER >> 20} MiB")
        return None
    return io.BytesIO(body)


def _trouble(file: IO[bytes], member: zipfile.ZipInfo) -> str:
    """Return why programs may read a member differently, or cannot read it; "" if all read the same."""
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _READABLE:
        return f"uses the unsupported compression method {member.compress_type}"
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        return "has no header at the offset in the directory"
    flags, method = struct.unpack("<HH", header[6:10])
    name = file.read(struct.unpack("<H", header[26:28])[0])
    same = name == member.orig_filename.encode("utf-8" if flags & 0x800 else "cp437", "replace")
    if not same and name.decode("utf-8", "replace") != member.orig_filename:
        return "has a different name in its own header"
    if method != member.compress_type or flags & _ENCRYPTED:
        return "has a different compression method in its own header"
    return ""
