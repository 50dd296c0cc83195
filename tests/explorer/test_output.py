"""What a network makes that makes pictures of pictures, beside what it was shown."""

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, expect
from torch import nn
from torch.nn import functional as F

import skviz
from skviz.explorer.grid import LARGEST, Subject
from skviz.models.nn import SKConv

SCALES = [0.5, 1.0, 1.5]
SIDE = 24


class Restoration(nn.Module):
    """Adds what a unit finds to the picture, enlarged."""

    def __init__(self, times: int = 1, channels: int = 3) -> None:
        super().__init__()
        self.stem, self.sk = nn.Conv2d(3, 8, 3, padding=1), SKConv(8, groups=1)
        self.last, self.times, self.channels = nn.Conv2d(8, 3, 1), times, channels

    def forward(self, x):
        y = x + self.last(self.sk(self.stem(x)))
        y = F.interpolate(y, scale_factor=float(self.times)) if self.times > 1 else y
        return y[:, : self.channels]


@pytest.fixture
def explored(few):
    made = []

    def explore(model):
        torch.manual_seed(0)
        made.append(skviz.explore(model, few, scales=SCALES, canvas=SIDE))
        made[-1].wait()
        return made[-1]

    yield explore
    for one in made:
        one.close()


@pytest.mark.parametrize("times", [1, 2])
def test_the_output_is_shown_as_it_is(explored, few, times):
    model = Restoration(times)
    explorer = explored(model)
    scenes = skviz.place(few, canvas=SIDE)[:1]
    shape = (len(SCALES), times * SIDE, times * SIDE, 3)

    def shown():
        return np.frombuffer(explorer.grid["outputs"], np.uint8).reshape(shape)

    def made():
        with torch.no_grad():
            return torch.cat([model.eval()(scenes.render(scale)) for scale in SCALES])

    def agree():
        by_hand = made()
        clipped = ((by_hand < 0) | (by_hand > 1)).float().mean((1, 2, 3))
        np.testing.assert_allclose(explorer.grid["clipped"], clipped, atol=1e-4)
        assert clipped.max() > 0
        wanted = 255 * by_hand.clamp(0, 1).movedim(1, -1).numpy()
        assert abs(shown() - wanted).max() < 0.51

    assert explorer.grid["output"] == times * SIDE
    agree()
    natural = shown()
    model.sk.forward = lambda x: model.sk.convs[1](x)
    by_hand = made()
    del model.sk.forward
    explorer.intervention = "5×5"
    explorer.wait()
    wanted = 255 * by_hand.clamp(0, 1).movedim(1, -1).numpy()
    assert abs(shown() - wanted).max() < 0.51
    assert (shown() != natural).any()
    assert not {"output", "clipped"} & set(explorer.ds.variables)


def test_what_is_no_number_is_told_as_clipped(explored):
    class Broken(Restoration):
        def forward(self, x):
            y = super().forward(x).clamp(0, 1)
            y[:, :, : SIDE // 2] = torch.nan
            return y

    explorer = explored(Broken())
    np.testing.assert_allclose(explorer.grid["clipped"], 0.5)
    shown = np.frombuffer(explorer.grid["outputs"], np.uint8).reshape(-1, SIDE, SIDE, 3)
    assert not shown[:, : SIDE // 2].any()
    assert shown[:, SIDE // 2 :].any()


def test_a_scale_off_the_grid_has_an_output_too(explored, monkeypatch):
    explorer, sent = explored(Restoration()), []
    monkeypatch.setattr(explorer, "send", lambda *what: sent.append(what))
    setting = dict(explorer.grid["setting"])
    asked = {"kind": "point", "number": 1, "scale": 0.7, "setting": setting}
    explorer._receive(None, asked, [])
    explorer.wait()
    ((content, buffers),) = [what for what in sent if what[0]["kind"] == "point"]
    assert [len(one) for one in buffers][::2] == [3 * SIDE**2] * 2
    assert len(content["point"]["clipped"]) == 1


@pytest.mark.parametrize(
    ("made", "side"),
    [
        (lambda _x, y: y, SIDE),
        (lambda _x, y: y.repeat(1, 1, 3, 3), 3 * SIDE),
        (lambda _x, y: y[:, :2], 0),
        (lambda _x, y: y[:, :, ::2, ::2], 0),
        (lambda _x, y: y.repeat(1, 1, 1, 2), 0),
        (lambda _x, y: y.argmax(1, keepdim=True).repeat(1, 3, 1, 1), 0),
        (lambda _x, y: {"out": y}, 0),
        (lambda _x, y: y.mean((2, 3)), 0),
    ],
)
def test_only_pictures_of_the_size_or_a_multiple_are_outputs(made, side):
    model, x = Restoration(), torch.rand(2, 3, SIDE, SIDE)
    wrapped = skviz.wrap(model, forward=lambda model, images: made(images, model(images)))
    assert Subject.of(wrapped, x, None).output == side


@pytest.mark.parametrize(
    ("canvas", "output", "shown"),
    [(96, 96, 96), (96, 384, 384), (96, 768, 384), (96, 480, 96), (500, 1000, 500), (96, 0, 0)],
)
def test_a_large_output_is_shown_smaller(canvas, output, shown):
    assert LARGEST == 384
    assert Subject(nn.Identity(), (), canvas, output).shown == shown


def test_a_classifier_has_no_output(explored, small_net):
    explorer = explored(small_net)
    assert (explorer.grid["output"], explorer.grid["outputs"]) == (0, b"")


def test_a_page_shows_it_beside_the_scene(explored, tmp_path, browser: Browser, small_net):
    explorer = explored(Restoration(2))
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(explorer.save(tmp_path / "page.html").as_uri())
    canvas, caption = page.locator(".output canvas"), page.locator(".output figcaption")
    expect(caption).to_contain_text("what the network makes of it, 48 × 48; ")
    expect(caption).to_contain_text("outside 0 to 1, and clipped")
    pixels = "c => Array.from(c.getContext('2d').getImageData(0, 0, 48, 48).data)"
    drawn = np.array(canvas.evaluate(pixels)).reshape(48, 48, 4)[..., :3]
    whole = np.frombuffer(explorer.grid["outputs"], np.uint8).reshape(-1, 48, 48, 3)
    np.testing.assert_array_equal(drawn, whole[1])
    page.goto(explored(small_net).save(tmp_path / "none.html").as_uri())
    expect(page.locator(".status")).to_have_text("stored")
    expect(page.locator(".output")).to_be_hidden()
    context.close()
