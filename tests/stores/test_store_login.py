"""Logins of object stores: variables first, then the files of aws; nothing is guessed."""

from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.stores.store_login import find_login


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = D\naws_secret_access_key = DS\n"
        "[work]\naws_access_key_id = W\naws_secret_access_key = WS\naws_session_token = WT\n"
    )
    (folder / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile work]\nregion = eu-central-1\nendpoint_url = https://s3.work\n"
        "[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = work\n"
    )
    return tmp_path


def test_the_default_profile_is_read(home: Path) -> None:
    login = find_login("s3", {}, home)
    assert login.found
    assert login.service == {"access_key_id": "D", "secret_access_key": "DS", "region": "eu-west-1"}


def test_a_profile_has_its_keys_region_and_endpoint(home: Path) -> None:
    login = find_login("s3", {"AWS_PROFILE": "work"}, home)
    assert login.service["session_token"] == "WT"
    assert login.service["region"] == "eu-central-1"
    assert login.service["endpoint"] == login.endpoint == "https://s3.work"
    assert "WS" not in repr(login)


def test_variables_win(home: Path) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "V", "AWS_REGION": "x", "AWS_ENDPOINT_URL": "https://v/", "AWS_PROFILE": "work"}
    login = find_login("s3", environ, home)
    assert (login.found, login.endpoint) == (True, "https://v/")
    assert login.service == {"endpoint": "https://v"}


def test_a_role_or_a_missing_profile_is_an_error(home: Path) -> None:
    with pytest.raises(UsageError, match="has no keys of its own") as raised:
        find_login("s3", {"AWS_PROFILE": "role"}, home)
    assert "export-credentials" in raised.value.hint
    with pytest.raises(UsageError, match="in neither of the files"):
        find_login("s3", {"AWS_PROFILE": "none"}, home)


def test_a_broken_file_is_named_and_not_shown(home: Path) -> None:
    (home / ".aws/credentials").write_text("aws_secret_access_key = sesame\n")
    with pytest.raises(UsageError) as raised:
        find_login("s3", {}, home)
    assert "sesame" not in raised.value.message + str(raised.value.__cause__)


def test_without_anything_there_is_no_login(tmp_path: Path) -> None:
    for scheme in ("s3", "gs", "az"):
        assert not find_login(scheme, {}, tmp_path).found
        assert not find_login(scheme, {}, None).found
    assert find_login("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "x"}, None).found
    assert find_login("az", {"AZURE_STORAGE_ACCOUNT_KEY": "x"}, None).found
