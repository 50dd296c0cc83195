"""How the shipped networks were trained, and what they do: not part of the package."""
