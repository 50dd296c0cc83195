"""What several rooms' tests share."""

import shutil
from collections.abc import Iterator

import pytest
import torch
import xarray as xr
from playwright.sync_api import Browser, sync_playwright

import skviz
from skviz.models.nn import SKNet
from skviz.scenes import cutouts

# Notebooks of whose kind there is another one, which takes less time.
LONG = ("01_sk_unit.zh", "03_attributions", "04_population", "05_your_model", "07_what_moves")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.name.startswith(LONG):
            item.add_marker("long")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="rewrite tests/golden")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium; one for all, since a second Playwright in a process refuses to start."""
    chromium = shutil.which("chromium")
    assert chromium, "there is no chromium; apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def shared_network_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """What one test does to the shared network is that test's failure, not the next one's."""
    if "small_net" not in request.fixturenames:
        yield
        return
    network = request.getfixturevalue("small_net")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    yield
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.fixture(scope="session")
def few() -> cutouts.Objects:
    """Five cut-outs."""
    return cutouts.objects(family="noto")[:5]


@pytest.fixture(scope="session")
def small_net() -> SKNet:
    """An untrained network with two and three branches in different units, not to be changed."""
    torch.manual_seed(1)
    model = SKNet((1, 1), (8, 16), num_classes=7, stem_channels=8, stem_stride=2, groups=2)
    other = SKNet(
        (1, 1), (8, 16), num_classes=7, stem_channels=8, stem_stride=2, groups=2, kernels=(3, 5, 7)
    )
    model.stage2 = other.stage2
    return model.eval()


@pytest.fixture(scope="session")
def ds(small_net: SKNet, few: cutouts.Objects) -> xr.Dataset:
    """A sweep of the small network."""
    return skviz.sweep(small_net, skviz.place(few, canvas=32), scales=[0.5, 1.0, 1.5, 2.0])
