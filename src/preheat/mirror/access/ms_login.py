"""ModelScope login: exchange a token for the cookie that older ModelScope clients send."""

import msgspec

from preheat.mirror.access.token_auth import COOKIE, TokenAuth
from preheat.mirror.api.ms_answers import write_refusal
from preheat.mirror.http.messages import Answer, Request, json_answer


class _Login(msgspec.Struct):
    token: str = msgspec.field(name="AccessToken")


def login(request: Request, door: TokenAuth) -> Answer:
    """Return the given token as a cookie if the mirror accepts it (modelscope before 1.38, `HubApi.login`)."""
    try:
        shown = msgspec.json.decode(request.body, type=_Login).token
    except (msgspec.DecodeError, RecursionError):
        shown = ""
    if not door.opens(shown):
        return json_answer(write_refusal(401, "this mirror requires its own token"), 401, {})
    # Name and e-mail belong to an account; the mirror has no accounts.
    told = {"AccessToken": shown, "Username": "", "Email": ""}
    body = msgspec.json.encode({"Code": 200, "Data": told, "Message": "success", "RequestId": "", "Success": True})
    return json_answer(body, 200, {"Set-Cookie": f"{COOKIE}={shown}; Path=/; HttpOnly", "Cache-Control": "no-store"})
