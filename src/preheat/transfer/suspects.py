"""Suspects: which bytes to download again, when a complete file has the wrong digest."""

from collections.abc import Sequence

from preheat.library.blobs.ranges import ByteRange, merge
from preheat.transfer.part_download import Download
from preheat.transfer.route import Route


def ask_again(download: Download, having: Sequence[Route]) -> list[ByteRange]:
    """Return which ranges of a file with a wrong digest to download again; empty to give up.

    First, request the bytes again that an earlier process downloaded. Next, if another route has the file, request the
    bytes of one route again, starting with the route that sent the fewest. If there is no such route and this is the
    first wrong digest, request the whole file a second time, since the network may have damaged the bytes.

    `having`: the routes that have the file.
    """
    if download.earlier:
        again, download.earlier = download.earlier, []
        return again
    suppliers = {route for _, route in download.received} - download.doubted
    suspect = min(suppliers, key=download.added_by, default=None)
    if suspect is not None and any(one is not suspect for one in having):
        # Earlier suspects were innocent, or not the only source of wrong bytes: suspect one route at a time.
        download.doubted.add(suspect)
        download.suspects = {suspect}
        again = merge(part for part, route in download.received if route is suspect)
        download.received = [(part, route) for part, route in download.received if route is not suspect]
        return again
    if having and download.failures == 0:
        download.received = []
        return [ByteRange(0, download.partial.file.size)]
    return []
