"""The explorer: a network under the hand, in a notebook or in a file."""
