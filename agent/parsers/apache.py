r"""Apache's access log: common, combined, and vhost_combined with the site in front, as `LogFormat` calls them.

The same events and rates as nginx's. The client is `%h`, which is an address unless HostnameLookups is on; `X-Forwarded-For`
is the client's own text and never read: behind a proxy, mod_remoteip puts the client into `%h` (`%a`). Apache writes `"`
inside a value as `\"` and a backslash as `\\` (mod_log_config, "Format Notes"), so no value can end early.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from agent.parsers.nginx import REQUEST, combined, count_combined, time_of
from agent.schema import canonical
from agent.streams.parser import Said, parser
from agent.streams.rates import MEASURED, SOURCE, STATS, Hit, Tally

__all__ = ["REQUEST", "SOURCE", "STATS", "Apache"]  # the rates' kinds are gathered from here

_LONGEST_SITE: Final = 260
_SITE: Final = re.compile(r"[^\s:\"]{1,253}:\d{1,5} ")
_COUNT_SITES: Final = re.compile(rb'^([^\s:"]{1,253}):\d{1,5} ([\dA-Fa-f:.]{2,45}) [^"\n]*"[^"\n]*" (\d{3}) ', re.MULTILINE)


@parser(kinds=(REQUEST, *MEASURED), longest=32768)
class Apache:
    """Requests, and request rates per client and per site, from Apache's access log."""

    def read(self, text: str) -> Said | None:
        """One line, in any of the formats."""
        site, rest = _split(text)
        said = combined(rest, rest.replace("\\\\", "__").replace('\\"', "__"))
        return said and said._replace(fields={**said.fields, "vhost": site}) if site else said

    def tally(self, chunk: bytes) -> Tally:
        """Requests of a chunk by client, site and status, with the time of its first and last line."""
        bare = chunk.replace(b"\\\\", b"__").replace(b'\\"', b"__")  # as long, and every quote in it is Apache's own
        first = bare[: bare.find(b"\n")]
        last = bare[bare.rfind(b"\n", 0, -1) + 1 :].rstrip(b"\n")
        with_site = _split(first[:_LONGEST_SITE].decode("utf-8", "replace"))[0]
        hits = _count_sites(bare) if with_site else count_combined(bare)
        return Tally(hits, time_of(first), time_of(last))


def _split(text: str) -> tuple[str, str]:
    """The site in front, without its port, and the rest of the line; an IPv6 client is no site."""
    found = _SITE.match(text)
    if found is None or canonical(found[0][:-1]):
        return "", text
    return found[0].rpartition(":")[0], text[found.end() :]


def _count_sites(chunk: bytes) -> Counter[Hit]:
    return Counter((ip, site, status) for site, ip, status in _COUNT_SITES.findall(chunk))
