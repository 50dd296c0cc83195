import pytest
import timm
import torch
from torch import nn

import skviz

from .peer import Spatial, Subject, subject

SIDE = 32


@pytest.fixture(scope="session")
def objects_net() -> nn.Module:
    """In float64, where a map does not depend on the processor or on what shares its batch."""
    return skviz.load("objects").double()


@pytest.fixture(scope="session")
def scenes(few):
    return skviz.place(few[:3], canvas=SIDE)


@pytest.fixture(scope="session")
def skresnet() -> nn.Module:
    """Untrained, with batch-norm statistics of noise: with none it is nearly linear."""
    torch.manual_seed(0)
    model = timm.create_model("skresnet18", pretrained=False)
    with torch.no_grad():
        for _ in range(30):
            model(torch.rand(8, 3, SIDE, SIDE))
    return model.eval().double()


@pytest.fixture(scope="session")
def shipped(objects_net, scenes) -> Subject:
    return subject(objects_net, scenes.render(1.0).double(), "stage2.1.sk")


@pytest.fixture(scope="session")
def timms(skresnet, scenes) -> Subject:
    return subject(skresnet, scenes.render(1.2)[:2].double(), "layer2.0.conv1")


@pytest.fixture(scope="session")
def spatial(scenes) -> Subject:
    torch.manual_seed(3)
    return subject(Spatial().double(), scenes.render(1.0)[:, :, ::2, ::2].double(), "pixel")


@pytest.fixture(scope="session")
def twice(spatial) -> Subject:
    return subject(spatial.model, spatial.images, "twice@1")


@pytest.fixture(params=["shipped", "timms", "spatial", "twice"])
def any_subject(request) -> Subject:
    return request.getfixturevalue(request.param)
