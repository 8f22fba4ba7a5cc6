"""Errors of object stores: their code is shown, and nothing else of a response, which may repeat keys."""

import pytest

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, NotFound
from preheat.stores.store_address import StoreAddress
from preheat.stores.store_errors import store_error

AT = StoreAddress.parse("s3://models/team")


def said(status: str, code: str) -> Exception:
    """Return an exception as obstore words it."""
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>"
    return Exception(
        f"Generic S3 error: Error performing PUT https://x - Server returned non-2xx status code: {status}: {body}"
    )


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        ("400 Bad Request", "ExpiredToken", AccessDenied, "have expired"),
        ("403 Forbidden", "InvalidAccessKeyId", AccessDenied, "are wrong"),
        ("403 Forbidden", "SignatureDoesNotMatch", AccessDenied, "are wrong"),
        ("403 Forbidden", "AccessDenied", AccessDenied, "access is denied"),
        ("403 Forbidden", "RequestTimeTooSkewed", HubError, "clock"),
        ("404 Not Found", "NoSuchBucket", NotFound, "no bucket models"),
        ("503 Slow Down", "SlowDown", HubUnavailable, "answered 503"),
        ("400 Bad Request", "EntityTooLarge", HubError, "refuses the request (EntityTooLarge)"),
    ],
)
def test_each_code_has_its_error(status: str, code: str, kind: type[HubError], words: str) -> None:
    error = store_error(said(status, code), AT)
    assert type(error) is kind
    assert words in error.message
    assert "AKIASECRET" not in error.message + error.hint


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("error sending request: tcp connect error: Connection refused (os error 111)", HubUnavailable),
        ("HTTP error: operation timed out", HubUnavailable),
        ("dns error: failed to lookup address", HubUnavailable),
        ("invalid peer certificate: UnknownIssuer", HubError),
        ("Received redirect without LOCATION", HubError),
        ("Error requesting instance metadata: http://169.254.169.254/latest/api/token", AccessDenied),
    ],
)
def test_a_response_that_did_not_come(text: str, kind: type[HubError]) -> None:
    assert type(store_error(Exception(text), AT)) is kind
