"""`serve-config`: describe an app as a service, for systemd, compose and Kubernetes."""
