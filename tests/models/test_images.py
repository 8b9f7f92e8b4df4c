"""Pictures on their way to the critic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rational_rewards.models.errors import QuestionError
from rational_rewards.models.images import as_rgb, fit, fitted_size, open_image, tensor_to_pil


def test_a_batch_becomes_pictures_with_exact_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    found = tensor_to_pil(torch.from_numpy(pixels.astype(np.float32) / 255))
    assert [np.asarray(image).tolist() for image in found] == pixels.tolist()


def test_grey_alpha_and_single_pictures_become_rgb():
    assert tensor_to_pil(torch.full((1, 2, 2, 1), 0.5))[0].getpixel((0, 0)) == (128, 128, 128)
    clear = torch.tensor([0.0, 0.0, 0.0, 0.0]).expand(1, 2, 2, 4)
    assert tensor_to_pil(clear)[0].getpixel((0, 0)) == (255, 255, 255), "transparent is laid on white"
    assert len(tensor_to_pil(torch.zeros(4, 4, 3))) == 1
    assert tensor_to_pil(torch.full((1, 1, 1, 3), 7.0))[0].getpixel((0, 0)) == (255, 255, 255), (
        "out of range is clipped"
    )


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (torch.zeros(0, 8, 8, 3), "empty batch"),
        (torch.zeros(1, 8, 0, 3), "empty batch"),
        (torch.full((1, 2, 2, 3), float("nan")), "NaN"),
        (torch.zeros(1, 4, 8, 8, 3), "not an image"),
        (torch.zeros(1, 8, 8, 5), "not an image"),
    ],
)
def test_what_is_no_picture_is_named(batch, says):
    with pytest.raises(QuestionError, match=says):
        tensor_to_pil(batch, "image_a")


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1024, 4_000_000), st.sampled_from([28, 32]))
def test_sizes_fit_the_budget_in_whole_patches_and_never_grow(width, height, budget, multiple):
    found = fitted_size(width, height, budget, multiple)
    assert all(side % multiple == 0 and side >= multiple for side in found)
    assert all(side <= max(multiple, given) for side, given in zip(found, (width, height), strict=True))
    assert found[0] * found[1] <= max(budget, multiple * multiple)
    assert fitted_size(*found, budget, multiple) == found


def test_the_default_budget_is_what_the_checkpoints_were_trained_at():
    assert fitted_size(2048, 2048) == (896, 896)
    assert fitted_size(512, 512) == (512, 512)


def test_shrinking_is_antialiased():
    stripes = Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (2048, 1024)))
    small = np.asarray(fit(as_rgb(stripes), 256 * 256))
    assert abs(int(small.min()) - int(small.max())) < 8, "one-pixel stripes become even grey"


def test_files_of_every_kind_are_read_upright(tmp_path):
    rotated = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save(tmp_path / "rotated.jpg", exif=exif)
    assert open_image(tmp_path / "rotated.jpg").size == (2, 4)
    deep = Image.fromarray(np.array([[0, 65535]], dtype=np.uint16))
    deep.save(tmp_path / "deep.png")
    assert [open_image(tmp_path / "deep.png").getpixel((x, 0)) for x in (0, 1)] == [
        (0, 0, 0),
        (255, 255, 255),
    ]
    Image.new("P", (2, 2)).save(tmp_path / "palette.gif")
    assert open_image(str(tmp_path / "palette.gif")).mode == "RGB"


def test_files_that_are_no_pictures_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(QuestionError, match=r"text\.png cannot be read"):
        open_image(tmp_path / "text.png")
    with pytest.raises(QuestionError, match="There is no image"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(QuestionError, match="not int"):
        open_image(3)


GREYS = [
    ("I;16", np.uint16, 65535),
    ("I;16B", ">u2", 65535),
    ("I", np.int32, 65535),
    ("I", np.int32, 255),
    ("F", np.float32, 1.0),
    ("F", np.float32, 255.0),
    ("F", np.float32, 65535.0),
]


@pytest.mark.parametrize(("mode", "kind", "white"), GREYS)
def test_deep_greys_keep_their_brightness(mode, kind, white):
    pixels = (np.linspace(0, 1, 256).reshape(16, 16) * white).astype(kind)
    image = Image.frombytes(mode, (16, 16), pixels.tobytes())
    red = np.asarray(as_rgb(image))[..., 0].astype(int)
    assert abs(red - np.linspace(0, 255, 256).reshape(16, 16)).max() <= 1


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_black_grey_stays_black(mode):
    assert as_rgb(Image.new(mode, (2, 2), 0)).getpixel((0, 0)) == (0, 0, 0)


def test_a_saved_16_bit_png_is_judged_as_it_looks(tmp_path):
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "grey.png")
    assert open_image(tmp_path / "grey.png").getpixel((0, 0)) == (128, 128, 128)


def test_float_pixels_that_are_no_numbers_are_named():
    with pytest.raises(QuestionError, match="NaN"):
        as_rgb(Image.fromarray(np.full((2, 2), np.nan, np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_alike_as_a_path_and_as_an_object(tmp_path, orientation):
    image = Image.new("RGB", (4, 2), "red")
    image.putpixel((0, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        as_object = open_image(opened)
    as_path = open_image(tmp_path / "turned.png")
    assert as_object.size == as_path.size == ((4, 2) if orientation < 5 else (2, 4))
    assert as_object.tobytes() == as_path.tobytes()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_every_mode_becomes_rgb(mode):
    assert open_image(Image.new(mode, (3, 3))).mode == "RGB"


@given(st.integers(896, 20_000))
def test_every_large_square_is_read_at_the_size_of_training(side):
    """897 x 897 once lost a row of patches to a rounding error, 905 and 973 too."""
    assert fitted_size(side, side) == (896, 896)


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 60))
def test_an_image_of_the_right_shape_uses_the_complete_budget(columns, rows, times):
    width, height = 32 * columns, 32 * rows
    assert fitted_size(width * times, height * times, width * height) == (width, height)


@pytest.mark.parametrize(
    ("mode", "colour", "clear"), [("RGB", (255, 0, 0), (255, 0, 0)), ("L", 7, 7), ("P", 0, 0)]
)
def test_a_colour_that_a_png_calls_transparent_is_laid_on_white(mode, colour, clear, tmp_path):
    Image.new(mode, (4, 4), colour).save(tmp_path / "clear.png", transparency=clear)
    assert open_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_path_as_people_paste_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.new("RGB", (4, 2)).save(tmp_path / "fox.png")
    for pasted in ("~/fox.png", f'"{tmp_path / "fox.png"}"', (tmp_path / "fox.png").as_uri()):
        assert open_image(pasted).size == (4, 2)
    (tmp_path / "'odd'").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "'odd'" / "fox.png")
    assert open_image(str(tmp_path / "'odd'" / "fox.png")).size == (8, 8)


def test_what_cannot_be_opened_is_named_with_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(QuestionError, match="is a folder"):
        open_image(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(QuestionError, match=r"large\.png has too many pixels.*shrink it"):
        open_image(tmp_path / "large.png")
    for name in ("a\0b.png", "x" * 5000):
        with pytest.raises(QuestionError):
            open_image(name)
    with pytest.raises(QuestionError):
        open_image("")
