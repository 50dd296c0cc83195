"""Networks: the building blocks, the shipped ones, where they run."""
