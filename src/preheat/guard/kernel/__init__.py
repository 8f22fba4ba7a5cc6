"""Read processes, memory and ports from the kernel; seccomp filters and read-only mounts."""
