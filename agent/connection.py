"""What a connection to one of our HTTP servers leaves behind when it ends: nothing."""

from __future__ import annotations

from typing import Final

from cheroot.server import HTTPConnection

_CACHED: Final = ("resolve_peer_creds", "get_peer_creds")
"""cheroot 11 keeps who is at the other end in caches of the connection's own, which hold it in a circle."""


class Connection(HTTPConnection):
    """A connection that goes with its last reference, and not at some later run of the garbage collector."""

    def close(self) -> None:
        """End it.

        Raises:
            OSError: as cheroot's.
        """
        try:
            super().close()
        finally:
            for cached in _CACHED:
                vars(self).pop(cached, None)
