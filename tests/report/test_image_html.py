"""Images and masks embedded in the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import Dataset, PreparedData, SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.report.figures import image_html
from pipeline.report.images import EmbeddedImage, Frame

CLASSES = (
    SegmentationClass("pet", "#d98c21", True),
    SegmentationClass("background", "#2e5a6b", False),
    SegmentationClass("border", "#e9dfc7", False),
)


def decode_image(image: EmbeddedImage) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image.src.split(",", 1)[1])))


def test_mask_has_class_colors_and_transparent_ignored_pixels() -> None:
    rendered = decode_image(image_html.render_mask(np.array([[0, 1], [2, IGNORE]], dtype=np.uint8), CLASSES, "a mask"))
    assert rendered.convert("RGBA").getpixel((0, 0)) == (0xD9, 0x8C, 0x21, 255)
    assert rendered.convert("RGBA").getpixel((1, 1))[3] == 0


@pytest.mark.parametrize("color", ["red", "#12345", "#0000000", 'url("x")'])
def test_invalid_color_is_refused(color: str, tmp_path: Path) -> None:
    prepared = PreparedData(tmp_path)
    classes = (SegmentationClass("pet", color, True),)
    prepared.write_json(prepared.CLASSES, Dataset("folder", "Images", "", classes, "f" * 64))
    with pytest.raises(PipelineError, match=r"classes\.json cannot be read \(classes\.0\.color: "):
        _ = prepared.dataset


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 2), (8, 6, 3), (8, 6, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_channels_and_dtype_have_contrast(shape: tuple[int, ...], dtype: type) -> None:
    image = np.linspace(0, 4095 if dtype is np.uint16 else 255, int(np.prod(shape))).reshape(shape).astype(dtype)
    rendered = decode_image(image_html.render_image(image, "an image"))
    low, high = rendered.convert("L").getextrema()
    assert rendered.size == (6, 8)
    assert low < 70 and high > 180  # also for 12 bits in 16


def test_large_masks_are_resized_and_keep_their_classes() -> None:
    large = np.zeros((900, 600), dtype=np.uint8)
    large[:450] = 1
    rendered = image_html.render_mask(large, CLASSES, "a mask")
    assert (rendered.height, rendered.width) == (image_html.MAX_SIZE, image_html.MAX_SIZE * 600 // 900)
    assert len(decode_image(rendered).convert("RGB").getcolors() or ()) == 2


def test_cutout_opacity_is_one_in_foreground_and_half_in_boundaries() -> None:
    classes = (
        SegmentationClass("animal", "#e69f00", foreground=True),
        SegmentationClass("background", "#0072b2", foreground=False),
        SegmentationClass("border", "#f0e442", foreground=False, is_boundary=True),
    )
    mask = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    assert image_html.compute_opacity(mask, classes).tolist() == [[1.0, 0.0, 0.5, 0.0]]


def test_cutout_shows_the_selected_pixels_over_a_checkerboard() -> None:
    image = np.full((32, 32, 3), (200, 30, 30), dtype=np.uint8)
    selected = np.zeros((32, 32), dtype=bool)
    selected[:, :16] = True
    rendered = decode_image(image_html.render_cutout(image, selected.astype(float), "a cut-out")).convert("RGB")
    inside, outside = (
        rendered.getpixel((x, rendered.height // 2)) for x in (rendered.width // 4, rendered.width * 3 // 4)
    )
    assert isinstance(inside, tuple) and isinstance(outside, tuple)
    assert inside[0] - inside[1] > 100
    assert abs(outside[0] - outside[1]) < 12


def create_fluorescence(low: int, high: int) -> np.ndarray:
    """Create dark noise with a bright square."""
    image = np.random.default_rng(0).integers(low, low + 3, (64, 64, 1), np.uint8)
    image[20:40, 20:40] = high
    return image


@pytest.mark.parametrize(
    ("low", "high"), [(0, 20), (3, 60), (110, 140), (200, 250)], ids=["dark", "dim", "flat", "pale"]
)
def test_image_of_low_contrast_is_stretched_and_marked(low: int, high: int) -> None:
    rendered = image_html.render_image(create_fluorescence(low, high), "an image")
    pixels = np.asarray(decode_image(rendered).convert("L"), dtype=int)
    assert rendered.stretched
    assert pixels[25:35, 25:35].min() > 230
    assert np.median(pixels) < 40


def test_image_of_faint_noise_is_not_amplified() -> None:
    noise = np.random.default_rng(0).integers(0, 6, (64, 64, 1), np.uint8)
    assert np.asarray(decode_image(image_html.render_image(noise, "an image")).convert("L")).max() < 120
    empty = image_html.render_image(np.full((64, 64, 3), 120, np.uint8), "an image")
    assert not empty.stretched
    assert decode_image(empty).convert("L").getextrema() == (120, 120)


def test_image_of_normal_contrast_is_unchanged() -> None:
    sparse = create_fluorescence(0, 0)
    sparse[30:35, 30:35] = 200  # bright objects in less than 1% of the image
    assert not image_html.render_image(sparse, "an image").stretched
    files = sorted((Path(__file__).parents[2] / "data/sample/backgrounds").glob("*.*"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files if file.suffix in (".jpg", ".webp", ".png")]
    assert len(images) > 20
    assert sum(image_html.render_image(image, "an image").stretched for image in images) == 0


def test_stretched_images_have_the_aspect_ratio_of_the_original() -> None:
    frame = Frame(height=300, width=400, resize="stretch")
    mask = np.zeros((64, 64), np.uint8)
    for rendered in (
        image_html.render_image(np.zeros((64, 64, 3), np.uint8), "an image", frame=frame),
        image_html.render_mask(mask, CLASSES, "a mask", frame=frame),
    ):
        assert (rendered.width, rendered.height, rendered.aspect) == (64, 64, pytest.approx(4 / 3))


def test_letterboxed_images_are_cropped_to_the_original() -> None:
    frame = Frame(height=300, width=400, resize="letterbox")
    image, mask = np.full((64, 64, 3), 90, np.uint8), np.full((64, 64), IGNORE, np.uint8)
    mask[8:56] = 0
    rendered = image_html.render_mask(frame.crop(mask), CLASSES, "a mask", frame=frame)
    assert (rendered.width, rendered.height, rendered.aspect) == (64, 48, pytest.approx(4 / 3))
    assert decode_image(rendered).convert("RGBA").getcolors() == [(64 * 48, (0xD9, 0x8C, 0x21, 255))]
    cutout = image_html.render_cutout(frame.crop(image), np.ones((48, 64)), "a cut-out", frame=frame)
    assert cutout.width / cutout.height == pytest.approx(4 / 3)
