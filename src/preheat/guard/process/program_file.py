"""Program file: why the kernel does not start a file: it is for another machine, or its interpreter is missing."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping

# elf.h: e_machine, with the names that uname(2) uses.
_MACHINES = {
    2: "sparc",
    3: "i686",
    8: "mips",
    20: "ppc",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_SYSTEMS = (
    (b"MZ", "Windows"),
    (b"\xcf\xfa\xed\xfe", "macOS"),
    (b"\xce\xfa\xed\xfe", "macOS"),
    (b"\xca\xfe\xba\xbe", "macOS"),
)
_LOADER = 3  # PT_INTERP
HINT = "the command needs a program that this machine can start"
_HEAD, _MOST_HEADERS, _LONGEST_PATH = 4096, 64, 4096


def why_not_started(program: str, number: int, cwd: str | None, env: Mapping[str, str]) -> str:
    """Return why execve(2) of a program that exists failed with the error `number`; empty if that is not known."""
    if number not in (errno.ENOEXEC, errno.ENOENT, errno.EACCES):
        return ""
    path = find_program(program, cwd, env)
    if number == errno.EACCES:
        denied = path is not None and os.path.isfile(path) and not os.access(path, os.X_OK)
        return f"it is not executable; to make it so: chmod +x {os.path.normpath(path)}" if path and denied else ""
    try:
        with open(path or "", "rb") as file:
            head = file.read(_HEAD)
            if number == errno.ENOENT:
                return _lacks(head, file.fileno())
            return _not_for_here(head)
    except (OSError, ValueError, struct.error):
        return ""


def find_program(program: str, cwd: str | None, env: Mapping[str, str]) -> str | None:
    """Return the path of the file that a command in `cwd` starts; None if no folder of PATH has it."""
    import shutil  # an app that starts does not wait for it

    return os.path.join(cwd or ".", program) if os.sep in program else shutil.which(program, path=env.get("PATH"))


def _not_for_here(head: bytes) -> str:
    here = os.uname().machine
    if head.startswith(b"\x7fELF"):
        machine = _machine(head)
        return "its file is damaged" if machine in ("", here) else f"it is for {machine}, and this machine is {here}"
    for magic, system in _SYSTEMS:
        if head.startswith(magic):
            return f"it is for {system}"
    if not head:
        return "its file is empty"
    if b"\0" not in head:
        return "it is a text without a first line that names its interpreter, such as #!/bin/sh"
    return "it is in no format that this machine starts"


def _lacks(head: bytes, descriptor: int) -> str:
    """Return what an existing program needs and does not find: its interpreter, or its loader."""
    if head.startswith(b"#!"):
        line = head[2:].partition(b"\n")[0]
        name = os.fsdecode(line.strip().partition(b" ")[0])
        if line.endswith(b"\r"):
            return "its first line ends with a carriage return, as on Windows; to remove it: sed -i 's/\\r$//'"
        return f"its interpreter {name} does not exist"
    loader = _loader(head, descriptor) if head.startswith(b"\x7fELF") else ""
    if not loader:
        return ""
    machine, here = _machine(head), os.uname().machine
    of = (
        f": it is for {machine}, and this machine is {here}"
        if machine not in ("", here)
        else ": it is for another system"
    )
    return f"its loader {loader} does not exist{of}"


def _order(head: bytes) -> str:
    return ">" if head[5:6] == b"\2" else "<"


def _machine(head: bytes) -> str:
    """Return the kind of machine that an ELF file is for; empty if its head is too short."""
    if len(head) < 20:
        return ""
    [number] = struct.unpack_from(f"{_order(head)}H", head, 18)
    return _MACHINES.get(number, f"machines of kind {number}")


def _loader(head: bytes, descriptor: int) -> str:
    """Return the loader that an ELF file names (elf(5)); empty for none."""
    order, is_64 = _order(head), head[4:5] == b"\2"
    (at,) = struct.unpack_from(f"{order}{'Q' if is_64 else 'I'}", head, 32 if is_64 else 28)
    size, count = struct.unpack_from(f"{order}HH", head, 54 if is_64 else 42)
    for index in range(min(count, _MOST_HEADERS)):
        header = os.pread(descriptor, size, at + index * size)
        if struct.unpack_from(f"{order}I", header)[0] == _LOADER:
            where, length = struct.unpack_from(f"{order}8xQ16xQ" if is_64 else f"{order}4xI8xI", header)
            return os.fsdecode(os.pread(descriptor, min(length, _LONGEST_PATH), where).partition(b"\0")[0])
    return ""
