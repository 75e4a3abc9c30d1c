"""What a client is not told: where files lie on a server."""

from __future__ import annotations

import re
from typing import Final

# An absolute path of at least two parts. Not what follows a scheme, a name or a dot: addresses,
# ids of models, paths in the store.
_PATH: Final = re.compile(r"(?<![\w/.:~-])/(?:[^\s'\":,;()/]+/)+([^\s'\":,;()/]*)")
_STORE_URL: Final = re.compile(r"\b(?:s3a?|gs|gcs|az|abfs|file)://[^\s'\",;()]+")


def hide_paths(text: str) -> str:
    """A sentence with the last part alone of each path, and without addresses of stores."""
    return _PATH.sub(r"…/\1", _STORE_URL.sub("the store", text))
