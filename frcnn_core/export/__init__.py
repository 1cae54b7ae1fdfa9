"""Whether an exported file is still the detector it was made of.

What the room hands on is listed in ``__init__.pyi``, and imported when it is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
