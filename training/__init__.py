"""Making the bundled checkpoint. Nothing of the farm imports this package; its dependencies are an extra."""
