"""What all tests share: their order."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first, so that what is simply broken says so within seconds."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
