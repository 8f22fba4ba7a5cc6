"""SmallNet: a small internet in a network namespace, for programs that download by themselves."""
