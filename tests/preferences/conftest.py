"""What the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest

from rational_rewards.preferences.dataset import PreferenceDataset


@pytest.fixture
def dataset(tmp_path):
    return PreferenceDataset(tmp_path / "my-taste")


@pytest.fixture
def write(tmp_path):
    """`write(column=[...], ...)`: a Parquet file with these columns."""

    def save(name: str = "votes.parquet", **columns) -> Path:
        parquet.write_table(pyarrow.table(columns), tmp_path / name)
        return tmp_path / name

    return save
