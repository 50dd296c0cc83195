import numpy as np
import pytest
import xarray as xr

from skviz.errors import DataError
from skviz.studies import store


def test_comes_back_as_it_was(ds, tmp_path):
    again = store.load(store.save(ds, tmp_path / "study.zarr"))
    xr.testing.assert_identical(again.to_dataset(), ds.to_dataset())
    np.testing.assert_array_equal(again["stage2.0.sk"]["weight"], ds["stage2.0.sk"]["weight"])


def test_never_overwrites(ds, tmp_path):
    (tmp_path / "study.zarr").mkdir()
    with pytest.raises(DataError, match="exists"):
        store.save(ds, tmp_path / "study.zarr")


def test_what_is_no_store(tmp_path):
    with pytest.raises(DataError, match="not a sweep"):
        store.load(tmp_path / "nothing.zarr")


def test_read_when_used(ds, tmp_path):
    path = store.save(ds, tmp_path / "study.zarr")
    lazy = store.load(path, lazy=True)
    assert not lazy["weight"].variable._in_memory
    xr.testing.assert_identical(lazy.to_dataset().load(), ds.to_dataset())
