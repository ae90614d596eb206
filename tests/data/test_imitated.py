import torch

from ssn_lib.data.images import ImageSet
from ssn_lib.data.imitated import beside_defects, with_defects
from ssn_lib.data.samples import Sample


def stripes(count=3, height=64, width=96):
    columns = (torch.arange(width) // 8 % 2 * 160 + 40).to(torch.uint8)
    return columns.expand(count, 3, height, width).contiguous()


def test_every_image_is_spoiled_where_its_mask_says():
    images = stripes()
    spoiled, masks = with_defects(images, seed=0)
    assert spoiled.shape == images.shape and spoiled.dtype == torch.uint8
    assert masks.shape == (3, 1, 64, 96)
    changed = (spoiled.int() - images.int()).abs().amax(1, keepdim=True)
    for one, mask in zip(changed, masks, strict=True):
        assert 0 < mask.float().mean() < 0.5
        assert one[mask == 1].float().mean() > 10 * one[mask == 0].float().mean()


def test_the_seed_alone_decides():
    images = stripes()
    first, again, other = (with_defects(images, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_images_are_left_as_they_are():
    images = stripes()
    before = images.clone()
    with_defects(images, seed=0)
    assert torch.equal(images, before)


def test_defects_lie_on_the_product():
    """An even background is spared, but not wholly."""
    images = torch.full((20, 3, 64, 64), 200, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    images[:, :, :, :32] = torch.randint(0, 255, (20, 3, 64, 32), generator=generator).byte()
    _, masks = with_defects(images, seed=0)
    assert masks[..., :32].sum() > 2 * masks[..., 32:].sum()


def test_even_images_are_spoiled_too():
    images = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8)
    _, masks = with_defects(images, seed=0)
    assert masks.flatten(1).any(1).all()


def test_sound_images_stand_before_themselves_with_defects(tmp_path):
    sound = ImageSet.of(
        (Sample(tmp_path / f"{name}.png", 0, "good") for name in "abc"),
        stripes(),
        torch.zeros(3, 1, 64, 96, dtype=torch.uint8),
    )
    both = beside_defects(sound, seed=0)
    assert both.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert both.has_masks and both.image_size == (64, 96)
    assert torch.equal(both.images[:3], sound.images)
    assert both.masks.flatten(1).any(1).tolist() == [False] * 3 + [True] * 3
