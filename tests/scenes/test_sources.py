import hashlib
import json
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision import datasets, transforms

import skviz
from skviz.errors import DataError
from skviz.scenes.source import Scenes


def photo(path: Path, seed: int, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Save a picture without loss, except as JPEG, and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    picture = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
    picture.save(path, quality=95)
    with Image.open(path) as saved:
        return np.array(saved.convert("RGB"))


def box(size: tuple[int, int] = (40, 50), value: int = 255, rest: int = 0) -> np.ndarray:
    """A mask of a box of 16 × 20 pixels."""
    mask = np.full(size, rest, np.uint8)
    mask[12:28, 15:35] = value
    return mask


def shown(source: Scenes, pixels: np.ndarray) -> None:
    """Assert that the first scene at scale 1 is `pixels`' central square."""
    edge = (pixels.shape[1] - pixels.shape[0]) // 2
    square = Image.fromarray(pixels[:, edge : edge + pixels.shape[0]])
    expected = np.array(square.resize((32, 32), Image.Resampling.BICUBIC)) / 255
    image = source[:1].render(1.0)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(image, expected, atol=0.02)


def object_is_cut_out(source: Scenes, area: float) -> None:
    """Assert that a smaller scale makes the object smaller and that its mask is this large."""
    scenes = source[:1]
    layers = scenes.layers
    alpha = layers.objects[:, 3].mean() * (layers.reference / 32) ** 2
    np.testing.assert_allclose(alpha, area, rtol=0.1)
    assert not torch.allclose(scenes.render(1.0), scenes.render(0.5), atol=0.05)


def test_a_folder(tmp_path):
    pixels = photo(tmp_path / "cat/a.png", 0)
    photo(tmp_path / "dog/b.jpg", 1)
    (tmp_path / "dog/notes.txt").write_text("no image")
    Image.fromarray(box()).save(tmp_path / "cat/a.mask.png")
    source = skviz.photographs(tmp_path).zoom(canvas=32)
    assert source.ids == ("cat/a.png", "dog/b.jpg")
    assert source.category == ("cat", "dog")
    shown(source, pixels)
    masked = skviz.photographs(tmp_path).cut_out(canvas=32)
    object_is_cut_out(masked, 16 * 20 / 40**2)
    assert masked[:1].category == ("cat",)
    with pytest.raises(DataError, match=r"dog/b.jpg.*needs a mask"):
        masked.ready()


@pytest.mark.parametrize("classes", [("cat", "dog"), ("", "")])
@pytest.mark.parametrize("value", [1, 255])
def test_images_and_masks_in_folders_of_their_own(tmp_path, classes, value):
    for number, name in enumerate(classes):
        photo(tmp_path / "images" / name / f"{number}.jpg", number)
        path = tmp_path / "masks" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(box(value=value)).save(path)
    source = skviz.photographs(tmp_path).cut_out(canvas=32)
    assert source.ids == tuple(f"{c}/{i}.jpg".strip("/") for i, c in enumerate(classes))
    assert source.category == (classes if any(classes) else ("0", "1"))
    object_is_cut_out(source, 16 * 20 / 40**2)
    Image.fromarray(box()).save(tmp_path / "masks" / classes[0] / "5.png")
    with pytest.raises(DataError, match=r"5.png is the mask of no image"):
        skviz.photographs(tmp_path)


@pytest.mark.parametrize("ending", [".mask.png", "_mask.png", "-mask.bmp"])
def test_a_mask_beside_its_image_is_no_image(tmp_path, ending):
    photo(tmp_path / "cat/a.jpg", 0)
    Image.fromarray(box()).save(tmp_path / f"cat/a{ending}")
    source = skviz.photographs(tmp_path).cut_out(canvas=32)
    assert source.ids == ("cat/a.jpg",)
    object_is_cut_out(source, 16 * 20 / 40**2)


@pytest.mark.parametrize("names", [("images", "cat"), ("masks",), ("images", "masks", "cat")])
def test_what_may_be_a_class_or_not_is_refused(tmp_path, names):
    for name in names:
        photo(tmp_path / name / "a.png", 0)
    with pytest.raises(DataError, match="expected images/ and masks/ and nothing else"):
        skviz.photographs(tmp_path)


def test_the_hash_tells_images_and_masks_apart(tmp_path):
    def found() -> int:
        return skviz.photographs(tmp_path).zoom().content[0]

    Image.new("RGB", (40, 40), (200, 0, 0)).save(tmp_path / "a.bmp")
    (tmp_path / "cat").mkdir()
    (tmp_path / "a.bmp").rename(tmp_path / "cat/a.bmp")
    seen = [found()]
    assert found() == seen[0]
    before = (tmp_path / "cat/a.bmp").stat().st_size
    Image.new("RGB", (40, 40), (201, 0, 0)).save(tmp_path / "cat/a.bmp")
    assert (tmp_path / "cat/a.bmp").stat().st_size == before
    seen.append(found())
    Image.fromarray(box((40, 40))).save(tmp_path / "cat/a.mask.png")
    seen.append(found())
    assert len(set(seen)) == len(seen)


def test_the_hash_of_any_image_is_that_of_its_values():
    class Pair:
        def __init__(self, *values):
            self.values = values

        def __getitem__(self, index):
            return torch.full((3, 8, 8), self.values[index])

        def __len__(self):
            return len(self.values)

    def found(dataset, **options):
        return skviz.photographs(dataset, category="x").zoom(**options).content[0]

    assert found(Pair(0.0, 0.2)) == found(Pair(0.0, 0.4), canvas=32)
    assert found(Pair(0.0, 0.2)) != found(Pair(0.2, 0.0))
    assert found(Pair(0.0, 0.2)) == found(Subset(Pair(0.2, 0.0), [1]))


def test_the_hash_is_that_of_what_a_transform_makes(tmp_path):
    photo(tmp_path / "cat/a.png", 0)

    def found(transform) -> int:
        dataset = datasets.ImageFolder(str(tmp_path), transform=transform)
        return skviz.photographs(dataset).zoom(canvas=32).content[0]

    sizes = {found(None), found(transforms.CenterCrop(40)), found(transforms.CenterCrop(10))}
    assert len(sizes) == 3


def test_image_folder_and_imagenet_layout(tmp_path):
    pixels = photo(tmp_path / "n01440764/ILSVRC2012_val_00000293.JPEG", 0)
    photo(tmp_path / "n01443537/ILSVRC2012_val_00000236.JPEG", 1)
    source = skviz.photographs(datasets.ImageFolder(str(tmp_path))).zoom(canvas=32)
    assert source.category == ("n01440764", "n01443537")
    assert source.ids[0] == "n01440764/ILSVRC2012_val_00000293.JPEG"
    shown(source, pixels)


def test_cifar10(tmp_path):
    """torchvision's own loader, on its files with three photographs in each."""
    generator = np.random.default_rng(0)
    rows, labels = generator.integers(0, 256, (3, 3072), np.uint8), [2, 0, 1]
    names = ["airplane", "automobile", "bird"]
    held = {"test_batch": {"data": rows, "labels": labels}, "batches.meta": {"label_names": names}}
    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()
    for name, content in held.items():
        (folder / name).write_bytes(pickle.dumps(content))
    hashes = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in held}

    class Small(datasets.CIFAR10):
        train_list: ClassVar = []
        test_list: ClassVar = [["test_batch", hashes["test_batch"]]]
        meta = datasets.CIFAR10.meta | {"md5": hashes["batches.meta"]}

    test = Small(str(tmp_path), train=False)
    source = skviz.photographs(test).zoom(canvas=32)
    assert source.category == ("bird", "airplane", "automobile")
    image = source[1:2].render(1.0)[0]
    planes = rows[1].reshape(3, 32, 32)  # red, green, blue, row by row
    np.testing.assert_allclose(image, planes / 255, atol=1e-5)
    some = skviz.photographs(Subset(test, [1, 2])).zoom(canvas=32)
    assert some.ids == (source.ids[1], source.ids[2])
    torch.testing.assert_close(some.render(1.0)[0], image)


def test_oxford_pets(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    pixels = photo(root / "images/Abyssinian_1.jpg", 0)
    photo(root / "images/beagle_2.jpg", 1)
    trimap = box(value=1, rest=2)
    trimap[12, 15:35] = 3  # the border belongs to the animal
    (root / "annotations/trimaps").mkdir(parents=True)
    for name in ("Abyssinian_1", "beagle_2"):
        Image.fromarray(trimap).save(root / f"annotations/trimaps/{name}.png")
    (root / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_2 2 2 1\n")
    dataset = datasets.OxfordIIITPet(str(tmp_path))
    source = skviz.photographs(dataset).cut_out(canvas=32)
    assert source.category == ("Abyssinian", "Beagle")
    object_is_cut_out(source, 16 * 20 / 40**2)
    shown(skviz.photographs(dataset).zoom(canvas=32), pixels)


def test_voc_segmentation(tmp_path):
    root = tmp_path / "VOCdevkit/VOC2012"
    photo(root / "JPEGImages/2007_000032.jpg", 0)
    mask = box(value=12)  # a dog
    mask[2:4, 2:4] = 15  # and a smaller person
    mask[11, 15:35] = 255  # the border
    (root / "SegmentationClass").mkdir()
    picture = Image.fromarray(mask)
    picture.putpalette([i for value in range(256) for i in (value, value, value)])
    picture.save(root / "SegmentationClass/2007_000032.png")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_000032\n")
    dataset = datasets.VOCSegmentation(str(tmp_path))
    source = skviz.photographs(dataset).cut_out(canvas=32)
    assert (source.category, source.ids) == (("dog",), ("2007_000032",))
    object_is_cut_out(source, 16 * 20 / 40**2)


# pycocotools 2.0.11 under numpy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_instances(tmp_path):
    photo(tmp_path / "val2017/000000000139.jpg", 0)
    photo(tmp_path / "val2017/000000000285.jpg", 1)
    corners = [15, 12, 35, 12, 35, 28, 15, 28]
    shared = {"image_id": 139, "iscrowd": 0}
    large = {"id": 1, "category_id": 18, "segmentation": [corners], "area": 320.0,
             "bbox": [15, 12, 20, 16], **shared}  # fmt: skip
    small = {"id": 2, "category_id": 1, "segmentation": [[1, 1, 4, 1, 4, 4]], "area": 4.5,
             "bbox": [1, 1, 3, 3], **shared}  # fmt: skip
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "height": 40, "width": 50} for i in (139, 285)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    annotations = {"images": images, "annotations": [small, large], "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(annotations))
    dataset = datasets.CocoDetection(str(tmp_path / "val2017"), str(tmp_path / "instances.json"))
    source = skviz.photographs(dataset).cut_out(canvas=32)
    assert (source.category, source.ids) == (("dog",), ("000000000139",))
    object_is_cut_out(source, 16 * 20 / 40**2)


def test_an_empty_mask_is_named_and_the_others_remain(tmp_path):
    for name in ("a", "b", "c"):
        photo(tmp_path / f"cat/{name}.png", 0)
        value = 0 if name == "b" else 255
        Image.fromarray(box(value=value)).save(tmp_path / f"cat/{name}.mask.png")
    source = skviz.photographs(tmp_path).cut_out(canvas=32)
    made = source.ready("cpu", [1.0], skip=True)
    problems = made.problems
    assert list(problems) == [1]
    assert "is empty" in problems[1]
    assert made.render(1.0).shape == (2, 3, 32, 32)
    np.testing.assert_allclose(made.areas, 16 * 20 / 40**2, rtol=0.1)
    with pytest.raises(DataError, match=r"cat/b.png.*is empty"):
        source.ready("cpu", [1.0])
    with pytest.raises(DataError, match=r"cat/b.png.*is empty"):
        source.ready()


def test_an_object_that_would_leave_its_canvas_is_named_and_the_others_remain(tmp_path):
    for name in ("a", "b"):
        photo(tmp_path / f"cat/{name}.png", 0)
        Image.fromarray(box()).save(tmp_path / f"cat/{name}.mask.png")
    wide = np.zeros((40, 50), np.uint8)
    wide[12:28, 7:43] = 255  # 36 of the 40 pixels that are shown
    Image.fromarray(wide).save(tmp_path / "cat/b.mask.png")
    source = skviz.photographs(tmp_path).cut_out(canvas=32)
    made = source.ready("cpu", [0.5, 1.5], skip=True)
    problems = made.problems
    for scale in (0.5, 1.5):
        torch.testing.assert_close(made.render(scale), source[:1].render(scale))
    assert "leave its canvas; the largest scale of these scenes is 1.05" in problems[1]
    assert source.ready("cpu", [0.5, 1.0], skip=True).problems == {}
    with pytest.raises(DataError, match=r"cat/b.png.*leave its canvas"):
        source.ready("cpu", [0.5, 1.5])


def test_tensors_and_unknown_classes(tmp_path):
    class Bare:
        def __getitem__(self, index):
            return torch.full((3, 40, 40), 0.25 * index)

        def __len__(self):
            return 3

    with pytest.raises(DataError, match="give `category`"):
        skviz.photographs(Bare())
    some = skviz.photographs(Subset(Bare(), [2, 0]), category=["third", "first"])
    assert list(zip(some.ids, some.category, strict=True)) == [
        ("000002", "third"), ("000000", "first"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="3 pictures need as many categories, got 2"):
        skviz.photographs(Bare(), category=["x", "y"])
    source = skviz.photographs(Bare(), category=["x", "y", "z"]).zoom(canvas=32)
    assert source.category == ("x", "y", "z")
    np.testing.assert_allclose(source.render(1.0)[2].numpy(), 0.5, atol=0.01)
    photo(tmp_path / "cat/a.png", 0)
    normalised = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)]
    )
    dataset = datasets.ImageFolder(str(tmp_path), transform=normalised)
    with pytest.raises(DataError, match="without normalisation"):
        skviz.photographs(dataset).zoom(canvas=32).ready()


def test_pictures_of_16_bits_turned_transparent_and_grey(tmp_path):
    (tmp_path / "x").mkdir()
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "x/deep.png")
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "x/float.tiff")
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    clear.save(tmp_path / "x/clear.png")
    tall = Image.new("RGB", (20, 40), "red")
    exif = tall.getexif()
    exif[0x0112] = 6  # to be turned by 90° when shown
    tall.save(tmp_path / "x/turned.jpg", exif=exif)
    source = skviz.photographs(tmp_path)
    (deep,) = source["x/deep.png"].pictures
    np.testing.assert_allclose(deep[0].numpy(), ramp / 65535, atol=1.01 / 65535)
    assert (source["x/clear.png"].pictures[0] == 1).all()
    assert source["x/turned.jpg"].pictures[0].shape == (3, 20, 40)
    with pytest.raises(DataError, match="mode 'F'"):
        _ = source["x/float.tiff"].pictures


def test_wrong_requests(tmp_path):
    with pytest.raises(DataError, match="for each class"):
        skviz.photographs(tmp_path)
    photo(tmp_path / "cat/a.png", 0)
