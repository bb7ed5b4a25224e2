"""The farm on one machine: its own broker and store, and starting, watching and stopping it all."""
