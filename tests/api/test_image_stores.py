"""Image stores: whether a registry on this machine is asked over TLS."""

from pathlib import Path

import pytest

from preheat import api
from preheat.core.errors import PreheatError
from preheat.oci.model.image_name import read_place
from tests.oci.small_registry import Faults, serving


def test_a_registry_without_tls_that_drops_a_connection_is_not_asked_over_tls(tmp_path: Path) -> None:
    session = api.Session(api.Settings(library=tmp_path / "library"))
    with serving(Faults(drop=1), tls=False) as registry:
        source = session.image_stores.source(read_place(f"docker://{registry.host}/me/app:1"))
        assert source is not None
        with pytest.raises(PreheatError, match="me/app"):
            source.document(None)
        assert registry.asked == ["GET /v2/me/app/manifests/1"]
