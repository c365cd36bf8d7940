"""DataLoader, samplers, data sets and transforms."""

from __future__ import annotations

import numpy as np
import pytest

import pt2q
from pt2q.utils import data
from pt2q.vision import datasets, transforms


class Squares(data.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return np.full((2,), i, np.float32), i * i


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(workers):
    loader = data.DataLoader(Squares(), batch_size=4, num_workers=workers)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [tuple(x.shape) for x, _ in batches] == [(4, 2), (4, 2), (2, 2)]
    assert batches[1][1].tolist() == [16, 25, 36, 49]
    assert batches[0][1].dtype == pt2q.int64


def test_shuffle_visits_all_and_follows_the_seed():
    def order():
        pt2q.manual_seed(3)
        return [i for _, y in data.DataLoader(Squares(), batch_size=3, shuffle=True) for i in y.tolist()]

    assert order() == order()
    assert sorted(order()) == [i * i for i in range(10)]
    assert order() != sorted(order())


def test_drop_last_and_samplers():
    sampler = data.SequentialSampler(Squares())
    assert len(data.DataLoader(Squares(), batch_size=4, sampler=sampler, drop_last=True)) == 2
    assert sorted(data.RandomSampler(range(5))) == [0, 1, 2, 3, 4]
    assert len(list(data.RandomSampler(range(5), replacement=True, num_samples=9))) == 9
    assert set(data.WeightedRandomSampler([0.0, 1.0, 0.0], 20)) == {1}
    assert list(data.BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]


def test_bad_arguments():
    with pytest.raises(ValueError, match="mutually exclusive"):
        data.DataLoader(Squares(), shuffle=True, sampler=data.SequentialSampler(Squares()))
    with pytest.raises(ValueError, match="batch_size"):
        data.DataLoader(Squares(), batch_size=0)
    with pytest.raises(TypeError, match="collate_fn"):
        next(iter(data.DataLoader([object()])))


def test_worker_errors_reach_the_user():
    class Bad(Squares):
        def __getitem__(self, i):
            raise KeyError("broken sample")

    with pytest.raises(KeyError, match="broken sample"):
        list(data.DataLoader(Bad(), num_workers=2))


def test_sets():
    both = data.ConcatDataset([Squares(), Squares()])
    assert both[13][1] == 9 and both[-1][1] == 81
    a, b = data.random_split(Squares(), [7, 3])
    assert len(a) == 7 and len({*a.indices, *b.indices}) == 10
    pairs = data.TensorDataset(pt2q.arange(4), pt2q.arange(4) * 2)
    assert [int(v) for v in pairs[3]] == [3, 6]


def test_transforms_geometry_and_values():
    image_module = pytest.importorskip("PIL.Image", reason="NO PILLOW: transforms were not tested")
    pixels = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
    image = image_module.fromarray(pixels)
    assert transforms.Resize(30)(image).size == (40, 30)
    assert transforms.CenterCrop(20)(image).size == (20, 20)
    middle = np.asarray(transforms.CenterCrop(20)(image))
    assert np.array_equal(middle, pixels[20:40, 30:50])
    tensor = transforms.ToTensor()(image)
    assert tuple(tensor.shape) == (3, 60, 80)
    assert np.array_equal(tensor.numpy(), pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    normal = transforms.Normalize([0.5, 0.5, 0.5], [0.25, 0.5, 1.0])(tensor).numpy()
    np.testing.assert_allclose(normal[0], (tensor.numpy()[0] - 0.5) / 0.25, rtol=1e-6)
    assert transforms.RandomResizedCrop(24)(image).size == (24, 24)
    with pytest.raises(TypeError, match="ToTensor"):
        transforms.Normalize([0.0], [1.0])(image)
    with pytest.raises(TypeError, match="PIL"):
        transforms.Resize(3)(tensor)


def test_image_folder(tmp_path):
    image_module = pytest.importorskip("PIL.Image", reason="NO PILLOW: ImageFolder was not tested")
    for name in ("b", "a"):
        (tmp_path / "val" / name).mkdir(parents=True)
        image_module.new("RGB", (8, 8)).save(tmp_path / "val" / name / "x.png")
    folder = datasets.ImageNet(str(tmp_path), split="val", transform=transforms.ToTensor())
    assert folder.classes == ["a", "b"] and folder[1][1] == 1
    with pytest.raises(FileNotFoundError, match="train"):
        datasets.ImageNet(str(tmp_path), split="train")
