"""Suspects: which bytes to download again, when a complete file has the wrong digest."""

from collections.abc import Sequence

from preheat.library.blobs.ranges import ByteRange, merge
from preheat.transfer.part_download import Download
from preheat.transfer.route import Route


def ask_again(download: Download, able: Sequence[Route]) -> list[ByteRange]:
    """Choose what to ask again, of the routes that are `able` to give it; nothing when nobody is left to ask.

    Bytes from before this process are doubted first, then those of one route at a time, as long as another can give
    them; the one that brought least comes first, for to doubt it costs least. A route that is alone gets a second
    chance: what was wrong may have been the line.
    """
    if download.earlier:
        again, download.earlier = download.earlier, []
        return again
    suppliers = {route for _, route in download.brought} - download.doubted
    suspect = min(suppliers, key=download.brought_by, default=None)
    if suspect is not None and any(one is not suspect for one in able):
        # Who was doubted before was doubted wrongly, or not alone: one suspect at a time.
        download.doubted.add(suspect)
        download.suspects = {suspect}
        again = merge(part for part, route in download.brought if route is suspect)
        download.brought = [(part, route) for part, route in download.brought if route is not suspect]
        return again
    if able and download.failures == 0:
        download.brought = []
        return [ByteRange(0, download.partial.file.size)]
    return []
