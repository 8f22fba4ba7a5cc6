"""`serve-config`: describe an app as a service, for systemd and compose."""
