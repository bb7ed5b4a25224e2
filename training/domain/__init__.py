"""The small English domain of the bundled model: what people say to it, and what it should answer."""
