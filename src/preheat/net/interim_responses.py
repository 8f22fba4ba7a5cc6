"""Interim responses: skip all 1xx responses before the final one (RFC 9110 section 15.2)."""

import http.client


class FinalResponse(http.client.HTTPResponse):
    """An HTTP response; the standard library's takes any interim response but 100 for the final one."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)  # its headers are limited like those of a final response
