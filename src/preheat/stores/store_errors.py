"""Store errors: convert exceptions of obstore to HubError; temporary ones become HubUnavailable.

obstore's messages contain the whole response, which may repeat keys and signatures: only its error code is shown.
"""

import re

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, NotFound
from preheat.stores.store_address import StoreAddress

_CODE = re.compile(r"<Code>\s*([A-Za-z]{2,60})\s*</Code>|\"(?:error|code)\":\s*\"([A-Za-z_]{2,60})\"")
_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})")
_NO_BUCKET = frozenset(("NoSuchBucket", "ContainerNotFound", "ResourceNotFound"))
_EXPIRED = frozenset(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"))
_WRONG_KEYS = frozenset(
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthenticationFailed", "InvalidClientTokenId")
)
_CLOCK = "RequestTimeTooSkewed"
_LATER = frozenset((408, 429, 500, 502, 503, 504))
_LOGIN = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; of other endpoints, AWS_ENDPOINT_URL too",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or log in: az login",
}


def store_error(error: Exception, address: StoreAddress, *, anonymous: bool = False) -> HubError:
    """Return the HubError for an exception of obstore. `anonymous`: the request was sent without credentials."""
    text = str(error)
    code = next((one for found in _CODE.finditer(text) for one in found.groups() if one), "")
    named = _STATUS.search(text)
    status = int(named[1] or named[2]) if named else 0
    login = _LOGIN[address.scheme]
    shown = f" ({code})" if code else f" ({status})" if status else ""
    if code in _NO_BUCKET:
        return NotFound(f"there is no bucket {address.bucket}{shown}", hint="check its name, region and endpoint")
    if code in _EXPIRED:
        return AccessDenied(f"{address}: the credentials have expired{shown}", hint=f"get new ones, or {login}")
    if code in _WRONG_KEYS:
        return AccessDenied(f"{address}: the credentials are wrong{shown}", hint=login)
    if code == _CLOCK:
        return HubError(f"{address}: the clock of this machine is wrong{shown}", hint="set the clock")
    if _name(error) in ("PermissionDeniedError", "UnauthenticatedError") or status in (401, 403):
        why = ", and there are no credentials" if anonymous else ""
        return AccessDenied(f"{address}: access is denied{why}{shown}", hint=login)
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{address} has no such key", hint="push the model again")
    if status in _LATER or code in ("SlowDown", "InternalError", "ServiceUnavailable"):
        return HubUnavailable(f"{address}: {address.service} answered {status or code}", status=status)
    return _unreached(text, address) or HubError(
        f"{address}: {address.service} refuses the request{shown or f' ({_name(error)})'}",
        hint="check the bucket's region and endpoint: AWS_REGION, AWS_ENDPOINT_URL"
        if address.scheme == "s3"
        else "check the bucket's name",
    )


def ignores_ranges(error: HubError) -> bool:
    """Return whether the store answered a range request with a whole object."""
    return "non-partial response" in str(error.__cause__ or "")


def lacks_conditions(error: HubError) -> bool:
    """Return whether the store answered that it has no conditional writes."""
    return re.search(r"status code: 501|<Code>NotImplemented", str(error.__cause__ or "")) is not None


def _unreached(text: str, address: StoreAddress) -> HubError | None:
    """Return the error for a response that did not come, or not to its end; None if one came."""
    lower = text.lower()
    if "metadata" in lower and ("169.254" in lower or "imds" in lower or "token" in lower):
        return AccessDenied(f"{address}: there are no credentials", hint=_LOGIN[address.scheme])
    if "certificate" in lower or "unknownissuer" in lower:
        return HubError(
            f"the certificate of {address.service} for {address} is not trusted",
            hint="set SSL_CERT_FILE to your CA's file",
        )
    if "redirect" in lower:
        return HubError(f"{address} is in another region", hint="set AWS_REGION")
    if "timedout" in lower or "timed out" in lower:
        return HubUnavailable(f"{address}: {address.service} does not answer in time", silent=True)
    if "dns error" in lower:
        return HubUnavailable(
            f"{address}: the name of its endpoint was not found in DNS", hint="check AWS_ENDPOINT_URL"
        )
    if "connect" in lower or "error sending request" in lower or "incompletemessage" in lower or "body" in lower:
        refused = " (connection refused)" if "connection refused" in lower else ""
        return HubUnavailable(f"{address}: {address.service} does not answer{refused}", hint="check AWS_ENDPOINT_URL")
    return None


def _name(error: Exception) -> str:
    return type(error).__name__
