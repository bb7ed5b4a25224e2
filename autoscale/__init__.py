"""The farm follows its load: observe, decide, act."""
