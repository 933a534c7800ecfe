"""A tracker that answers as the Delegated Routing V1 API says, and the forms of what it sends."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from wherry.testing.hostile import answer

NDJSON = "application/x-ndjson"
JSON = "application/json"


def multiaddr(address):
    """The multiaddr of ``http://HOST:PORT``."""
    parts = urlsplit(address)
    kind = "ip6" if ":" in parts.hostname else "ip4" if parts.hostname[0].isdigit() else "dns"
    return f"/{kind}/{parts.hostname}/tcp/{parts.port}/{parts.scheme}"


def record(*addresses, **changes):
    return {"Schema": "peer", "ID": "12D3KooW", "Addrs": [multiaddr(address) for address in addresses], **changes}


def lines(records):
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def tracking(known, form=NDJSON):
    """A behaviour: gives the records of the CID at the end of the path; 404 for one that is not known."""

    def body(request):
        records = known.get(request.path.rpartition("/")[2], [])
        return lines(records) if form == NDJSON else json.dumps({"Providers": records}).encode()

    return answer(body, headers={"Content-Type": form})
