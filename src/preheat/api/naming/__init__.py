"""What typed names mean: the app that a word names, and the models that a mistyped name is most like."""
