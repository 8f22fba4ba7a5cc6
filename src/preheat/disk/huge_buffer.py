"""Huge buffer: memory to read into, in huge pages if the kernel has them.

What goes through small pages, which lie anywhere in memory, falls out of a core's cache by chance: hashing what was
just read is a tenth slower then.
"""

import mmap
from contextlib import suppress

_HUGE = 2 << 20  # bytes of a huge page, on x86-64, and on ARM where small pages have 4 KiB


def make_buffer(size: int) -> memoryview:
    """Return `size` bytes of zeros. From half a huge page on they are in huge ones, which they take up whole."""
    if size < _HUGE // 2:
        return memoryview(bytearray(size))
    # Linux from 6.7 on begins such a mapping where a huge page begins; earlier, some of it may lie in small ones.
    memory = mmap.mmap(-1, -(-size // _HUGE) * _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)[:size]
