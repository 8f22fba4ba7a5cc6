"""GPU: memory in use on all GPUs of this machine (NVML)."""

import ctypes
from typing import Self

_LIBRARY = "libnvidia-ml.so.1"


class _Memory(ctypes.Structure):
    """nvmlMemory_t of nvml.h: bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Gpus:
    """All GPUs; `names` is empty without a GPU or driver. Memory of other processes counts too."""

    def __init__(self, library: str = _LIBRARY) -> None:
        self.names: tuple[str, ...] = ()
        self._devices: list[ctypes.c_void_p] = []
        self._nvml: ctypes.CDLL | None = None
        try:
            nvml = ctypes.CDLL(library)
            if nvml.nvmlInit_v2() == 0:
                self._nvml = nvml
                self._look(nvml)
        except (OSError, AttributeError):
            pass  # no driver, or one that is too old

    @property
    def used(self) -> int | None:
        """Return the bytes in use on all GPUs, or None without a GPU."""
        if self._nvml is None or not self._devices:
            return None
        memory, used = _Memory(), 0
        for device in self._devices:
            if self._nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
                return None
            used += memory.used
        return used

    def close(self) -> None:
        """Shut down the driver's library."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _look(self, nvml: ctypes.CDLL) -> None:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return
        for number in range(count.value):
            device, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
            if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(device)) == 0:
                nvml.nvmlDeviceGetName(device, name, ctypes.c_uint(len(name)))
                self._devices.append(device)
                self.names = (*self.names, name.value.decode("utf-8", "replace"))
