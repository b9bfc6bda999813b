"""What [database] may say."""

import pytest
from pydantic import SecretStr, ValidationError

from {{ cookiecutter.__package }}.database.settings import DatabaseSettings


def test_what_replicas_share_is_no_file():
    assert DatabaseSettings(url=SecretStr("postgresql://tea@shop/orders"), shared=True).shared
    with pytest.raises(ValidationError, match="several replicas share the database"):
        DatabaseSettings(url=SecretStr("sqlite:///data/service.db"), shared=True)
