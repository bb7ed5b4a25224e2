"""A farm of batching workers, in discrete events: what a scaling policy makes of a load, without a farm."""
