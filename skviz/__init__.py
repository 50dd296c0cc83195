"""See, measure and test the branch weights of Selective-Kernel networks.

The names in ``__init__.pyi`` are what a newcomer needs; each is imported when it is first used, so
that ``import skviz`` costs nothing. Modules are nouns and entry points verbs, so that no function
hides a module of its own name.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("skviz")
__all__ += ["__version__"]
