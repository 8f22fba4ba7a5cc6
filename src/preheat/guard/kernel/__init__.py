"""What the kernel reports: processes, memory, ports; seccomp."""
