"""Write an app as Kubernetes objects."""
