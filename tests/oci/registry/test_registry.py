"""Pushing to and pulling from a registry with faults: nothing is sent twice, and no login goes elsewhere."""

import hashlib
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest, sha256
from preheat.core.errors import ImageError, PreheatError
from preheat.core.events import Away, Event, Listener
from preheat.net.http import NetworkSettings, Transport
from preheat.net.retry import RetryPolicy
from preheat.oci.model.content import FileSpan, Local, Small, chunks
from preheat.oci.model.descriptor import LAYER, Descriptor
from preheat.oci.model.image import ImageDocument, config_document, write_manifest
from preheat.oci.model.image_name import Name, read_name
from preheat.oci.registry import registry as registry_module
from preheat.oci.registry import upload
from preheat.oci.registry.auth import Auth
from preheat.oci.registry.credentials import Login, find_login
from preheat.oci.registry.push import RegistryTarget
from preheat.oci.registry.registry import Registry, RegistryOptions
from preheat.oci.registry.remote_image import Remote
from preheat.oci.registry.response_parsing import Challenge, read_challenge, read_offset, with_query
from tests.authority import trusting
from tests.line import Line
from tests.oci.small_registry import PASSWORD, USER, Faults, serving
from tests.oci.small_registry import Registry as Small_

BODY = bytes(range(256)) * 12_000  # 3,072,000 bytes
LOGIN = Login(USER, PASSWORD)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_CHUNK", 1_000_000)
    monkeypatch.setattr(upload, "_LEAST", 200_000)


def registry(there: Small_, end: str = "target", login: Login | None = LOGIN, repository: str = "me/app") -> Registry:
    patience = RetryPolicy(attempts=4, first_wait_s=0.01, longest_wait_s=0.02)
    transport = Transport(trusting(NetworkSettings(read_s=5)))
    return Registry(
        transport,
        Name(there.host, repository, "v1"),
        login,
        RegistryOptions(plain=not there.tls, end=end, patience=patience),
    )


def target(there: Small_, mounts: dict[Digest, list[str]] | None = None, login: Login | None = LOGIN) -> RegistryTarget:
    return RegistryTarget(
        registry(there, login=login), Transport(trusting(NetworkSettings(read_s=5))), mounts or {}, lambda _: None
    )


def local(tmp_path: Path, *, known: bool = True, body: bytes = BODY) -> Local:
    path = tmp_path / "blob"
    path.write_bytes(body)
    digest = sha256(hashlib.sha256(body).hexdigest()) if known else None
    return Local("weights", FileSpan(path, 0, len(body)), digest)


FAULTS = {
    "nothing": Faults(),
    "basic": Faults(auth="basic"),
    "token": Faults(auth="token"),
    "401 in the middle": Faults(auth="token", expire=2),
    "429": Faults(busy=3),
    "503": Faults(broken=2),
    "cut": Faults(cut=[700_000, 10, 300_000]),
    "413 for large chunks": Faults(largest=300_000),
    "413 before the chunk is read": Faults(largest=300_000, curt=True),
    "a forgotten session": Faults(forget=1),
    "an answer that was lost": Faults(lose_put=1),
    "all at once": Faults(auth="token", expire=1, busy=1, cut=[123_456], largest=600_000),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", FAULTS)
def test_a_blob_arrives_completely(name: str, known: bool, tmp_path: Path) -> None:
    from copy import deepcopy

    with serving(deepcopy(FAULTS[name])) as there:
        digest, how = target(there).put(local(tmp_path, known=known))
        assert (str(digest), how) == (f"sha256:{hashlib.sha256(BODY).hexdigest()}", "sent")
        assert there.blobs[str(digest)] == BODY


def test_a_restarting_registry_is_waited_for(tmp_path: Path) -> None:
    with serving() as there, Line(there.url) as line:
        there.host = line.url.partition("://")[2]
        events: list[Event] = []
        gone = threading.Event()

        def goes(sent: int) -> None:
            if not gone.is_set():
                gone.set()
                line.cut()

        def comes_back(event: Event) -> None:
            events.append(event)
            if isinstance(event, Away):
                line.restore()

        patience = RetryPolicy(first_wait_s=0.05, longest_wait_s=0.1)
        transport = Transport(trusting(NetworkSettings(read_s=5)))
        options = RegistryOptions(end="target", patience=patience, on_event=once(comes_back))
        name = Name(there.host, "me/app", "v1")
        digest, _ = RegistryTarget(Registry(transport, name, None, options), transport, {}, goes).put(local(tmp_path))
        assert there.blobs[str(digest)] == BODY
        assert any(isinstance(event, Away) for event in events)


def once(listener: Listener) -> Listener:
    """Pass on the first Away event, and nothing else."""
    passed: list[Event] = []

    def pass_on(event: Event) -> None:
        if isinstance(event, Away) and not passed:
            passed.append(event)
            listener(event)

    return pass_on


def test_existing_blobs_are_not_sent_and_blobs_of_other_repositories_are_mounted(tmp_path: Path) -> None:
    with serving() as there:
        content = local(tmp_path)
        assert content.digest is not None
        there.keep("other/app", BODY)
        assert target(there, {content.digest: [f"{there.host}/other/app"]}).put(content)[1] == "mounted"
        assert target(there).put(content)[1] == "here"
        assert not [asked for asked in there.asked if asked.startswith("PATCH")]


def test_a_failed_mount_is_uploaded_in_the_session_that_it_opened(tmp_path: Path) -> None:
    with serving(Faults(no_mount=True)) as there:
        content = local(tmp_path)
        assert content.digest is not None
        assert target(there, {content.digest: [f"{there.host}/other/app"]}).put(content)[1] == "sent"
        assert sum(asked.startswith("POST") for asked in there.asked) == 1


@pytest.mark.parametrize(
    ("faults", "login", "words"),
    [
        (Faults(auth="basic"), None, "rejected the upload of a blob|status 401|UNAUTHORIZED"),
        (Faults(auth="token"), Login("me", "wrong"), "did not issue a token"),
        (Faults(largest=1000), LOGIN, "rejected weights"),
        (Faults(busy=100), LOGIN, "too many requests"),
        (Faults(forget=100), LOGIN, "cannot upload"),
    ],
)
def test_an_error_of_the_registry_has_the_target_as_its_end(
    faults: Faults, login: Login | None, words: str, tmp_path: Path
) -> None:
    with serving(faults) as there, pytest.raises(ImageError, match=words) as error:
        target(there, login=login).put(local(tmp_path))
    assert error.value.end == "target"
    assert error.value.hint
    assert PASSWORD not in f"{error.value.message}{error.value.hint}"


def test_bytes_with_a_wrong_digest_have_the_source_as_the_end(tmp_path: Path) -> None:
    lie = Local("weights", local(tmp_path).span, sha256("0" * 64))
    with serving() as there, pytest.raises(ImageError, match="expected") as error:
        target(there).put(lie)
    assert error.value.end == "source"
    assert there.blobs == {}


def pushed(there: Small_, body: bytes) -> Descriptor:
    layer = Small("layer", body, ImageDocument("", body).digest)
    config = config_document({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [str(layer.digest)]}})
    one = target(there)
    one.put(layer)
    described = Descriptor(LAYER, layer.digest, layer.size)
    one.publish(write_manifest(config, (described,), {}, docker=False), config)
    return described


@pytest.mark.parametrize("faults", [Faults(), Faults(auth="token"), Faults(auth="basic")])
def test_a_pushed_blob_is_pulled_even_if_connections_break(faults: Faults) -> None:
    with serving(faults) as there:
        described = pushed(there, BODY)
        faults.cut = [10, 2_000_000, 500_000]
        source = Remote(registry(there, "source"))
        assert json.loads(source.document(None).body)["layers"][0]["digest"] == str(described.digest)
        got = b"".join(bytes(chunk) for chunk in chunks(source.content(described, "layer").pieces()))
        assert got == BODY


def test_a_silent_registry_has_the_source_as_the_end() -> None:
    with serving() as there:
        described = pushed(there, BODY)
        there.faults.cut = [5] * 1000
        with pytest.raises(ImageError, match="cannot download") as error:
            list(Remote(registry(there, "source")).content(described, "layer").pieces())
    assert error.value.end == "source"


def test_a_login_is_sent_only_to_its_registry(tmp_path: Path) -> None:
    with serving() as other, serving(Faults(auth="basic")) as there:
        one = registry(there)
        one.ask(lambda shown: Transport(trusting()).get(f"{there.url}/v2/", shown), one.base, push=True)
        elsewhere = f"{other.url}/v2/"
        one.ask(lambda shown: Transport(trusting()).get(elsewhere, shown), elsewhere, push=True)
        assert there.shown[-1].startswith("Basic ")
        assert other.shown == [""]


REALMS = {
    ("ghcr.io", "http://attacker.example/token"): False,
    ("ghcr.io", "http://localhost:99/token"): False,
    ("ghcr.io", "https://auth.example/token"): True,
    ("localhost:5000", "http://attacker.example/token"): False,
    ("localhost:5000", "http://10.0.0.1/token"): False,
    ("localhost:5000", "http://127.0.0.1:99/token"): True,
    ("127.0.0.1:5000", "http://[::1]:99/token"): True,
    ("127.0.0.1:5000", "http://127.0.0.2/token"): False,
    ("127.0.0.1:5000", "http://evil.localhost/token"): False,
    ("127.0.0.1:5000", "http://127.0.0.1:1@attacker.example/token"): False,
    ("plain.lan:5000", "http://plain.lan:99/token"): True,
    ("plain.lan:5000", "http://auth.lan/token"): True,
    ("plain.lan:5000", "http://attacker.example/token"): False,
    ("plain.lan:5000", "http://plain.lan@attacker.example/token"): False,
}


@pytest.mark.parametrize(("host", "realm"), REALMS)
def test_a_login_is_sent_without_tls_only_if_requested(host: str, realm: str) -> None:
    nowhere = Transport(NetworkSettings({"http": "http://127.0.0.1:1", "https": "http://127.0.0.1:1"}))
    auth = Auth(nowhere, host, LOGIN, plain_http=("plain.lan:5000", "auth.lan"), end="target")
    with pytest.raises(PreheatError, match="127.0.0.1:1" if REALMS[host, realm] else "without TLS"):
        auth.answer(Challenge("bearer", realm), "repository:x:pull", {})


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "/token", "http:///token", "data:,x", "ftp://a/b"])
def test_an_invalid_token_server_is_not_contacted(realm: str) -> None:
    assert read_challenge(f'Bearer realm="{realm}"') is None


def test_a_password_echoed_by_the_registry_is_not_in_the_error() -> None:
    auth = Auth(Transport(trusting()), "ghcr.io", LOGIN, end="target")
    assert PASSWORD not in auth.hide(f"no, {PASSWORD}, {LOGIN.basic}")
    assert LOGIN.basic.partition(" ")[2] not in auth.hide(f"no, {PASSWORD}, {LOGIN.basic}")


def test_logins_of_docker_and_podman_are_found(tmp_path: Path) -> None:
    import base64
    import os

    helper = tmp_path / "docker-credential-small"
    helper.write_text('#!/bin/sh\nread host\necho "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"for $host\\"}"\n')
    helper.chmod(0o755)
    auth = base64.b64encode(b"me:pass:word").decode()
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "auths": {
                    "ghcr.io": {"auth": auth},
                    "https://index.docker.io/v1/": {"auth": auth},
                    "quay.io/me": {"auth": auth},
                },
                "credHelpers": {"ecr.example": "small"},
            }
        )
    )
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def found(text: str) -> Login | None:
        name = read_name(text)
        return find_login(name.host, name.repository, [tmp_path / "none.json", config], environ)

    assert found("ghcr.io/me/app") == Login("me", "pass:word")
    assert found("ubuntu") == Login("me", "pass:word")
    assert found("quay.io/me/app") == Login("me", "pass:word")
    assert found("quay.io/other/app") is None
    assert found("ecr.example/app") == Login(identity_token="for ecr.example")
    assert "pass" not in repr(found("ubuntu"))


@given(st.text(), st.integers(-1, 1 << 40))
def test_invalid_responses_raise_clear_errors(text: str, last: int) -> None:
    read_challenge(text)
    assert read_offset(text) is None or text.strip().removeprefix("bytes=").startswith("0-")
    assert read_offset(f"0-{last}") == (last + 1 if last > 0 else 0)


def test_a_challenge_is_parsed_and_a_signed_address_is_not_changed() -> None:
    said = read_challenge('Bearer realm="https://a/t?x=1",service="s, t",scope="repository:a:pull,push"')
    assert said is not None
    assert (said.realm, said.service, said.scope) == ("https://a/t?x=1", "s, t", "repository:a:pull,push")
    assert with_query("http://h/u?_state=a%2Fb%3D", digest="sha256:0") == "http://h/u?_state=a%2Fb%3D&digest=sha256%3A0"
