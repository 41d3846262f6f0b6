"""Python code that segments an image with an exported network, with only numpy, Pillow and ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.export.metadata import get_max_value
from pipeline.imaging.extra_bands import MAX_HALF_TRANSPARENT
from pipeline.imaging.resize import FixedSize, NativeSize
from pipeline.inference.trained_run import TrainedRun
from pipeline.volumes.slice_file import IntensityWindow

_LOAD = """\
session = onnxruntime.InferenceSession({path})
about = session.get_modelmeta().custom_metadata_map
height, width = json.loads(about["input_size"])
"""
_OPEN = f"""\
original = ImageOps.exif_transpose(Image.open("image.png"))
rgba = original.convert("RGBA")
alpha = np.asarray(rgba)[..., 3]
if alpha.any() and ((alpha > 0) & (alpha < 255)).mean() <= {MAX_HALF_TRANSPARENT}:  # otherwise, not transparency
    original = Image.alpha_composite(Image.new("RGBA", original.size, "black"), rgba)  # transparent pixels become black
"""
_OPEN_TIFF = """\
image = tifffile.imread("image.tif").astype(np.float32)
"""
_OPEN_TIFF_OR_PNG = """\
file = "image.tif"  # or a PNG
image = np.asarray(Image.open(file) if file.endswith(".png") else tifffile.imread(file), np.float32)
"""
_MOVE_PAGES = """\
if image.shape[-1] != {channels}:  # one page per channel: channels x height x width
    image = np.moveaxis(image, 0, -1)
"""
_WINDOW = """\
low, high = json.loads(about["window"])
image = np.rint((image.clip(low, high) - low) * (MAXIMUM / (high - low)))
"""
_STRETCH = """\
size, top, left = (height, width), 0, 0
bands = [Image.fromarray(band).resize((width, height), Image.Resampling.LANCZOS) for band in np.moveaxis(image, -1, 0)]
inputs = np.stack(bands)
"""
_LETTERBOX = """\
scale = min(height / image.shape[0], width / image.shape[1])
size = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
top, left = (height - size[0]) // 2, (width - size[1]) // 2
padding = (top, height - size[0] - top), (left, width - size[1] - left)
bands = [Image.fromarray(band).resize(size[::-1], Image.Resampling.LANCZOS) for band in np.moveaxis(image, -1, 0)]
inputs = np.stack([np.pad(np.asarray(band), padding, mode="reflect") for band in bands])
"""
_WHOLE = """\
(probabilities,) = session.run(None, {"images": inputs[None].clip(0, MAXIMUM) / np.float32(MAXIMUM)})
inner = probabilities[0, :, top : top + size[0], left : left + size[1]]
shape = image.shape[1], image.shape[0]
scores = np.stack([Image.fromarray(band).resize(shape, Image.Resampling.BILINEAR) for band in inner])
"""
_DOWNSCALE = """\
shape = image.shape[1], image.shape[0]
size = [max(1, round(side / float(about["downscale"]))) for side in image.shape[:2]]
bands = [Image.fromarray(band).resize(size[::-1], Image.Resampling.LANCZOS) for band in np.moveaxis(image, -1, 0)]
image = np.stack(bands, axis=-1)
"""
_TILES = """\
# Tiles without overlap, for simplicity: `pipeline predict` blends overlapping tiles, which is better at their edges.
rows, columns = image.shape[:2]
padded = np.pad(image, ((0, -rows % height), (0, -columns % width), (0, 0)), mode="reflect")
scores = np.zeros((len(json.loads(about["class_names"])), *padded.shape[:2]), np.float32)
for top in range(0, rows, height):
    for left in range(0, columns, width):
        tile = padded[top : top + height, left : left + width].transpose(2, 0, 1)
        (probabilities,) = session.run(None, {"images": tile[None].clip(0, MAXIMUM) / np.float32(MAXIMUM)})
        scores[:, top : top + height, left : left + width] = probabilities[0]
scores = scores[:, :rows, :columns]
"""
_ENLARGE = """\
scores = np.stack([Image.fromarray(band).resize(shape, Image.Resampling.BILINEAR) for band in scores])
"""
_CLASSIFY = """\
mask = scores.argmax(axis=0)
"""
_PRINT = """\
for index, name in enumerate(json.loads(about["class_names"])):
    print(f"{name}: {(mask == index).mean():.1%} of the pixels")
Image.fromarray(mask.astype(np.uint8)).save("mask.png")
"""


def create_example(run: TrainedRun, path: Path, window: IntensityWindow | None) -> str:
    """Create code that reads `image.png` or `image.tif`, and writes the class indices of its pixels to `mask.png`.

    Args:
        run: The run, or the ensemble.
        path: ONNX file of its network.
        window: Mapping of the intensities of slices or scenes to pixel values; with it, the code applies it.
    """
    resizing = run.preprocessing.resizing
    if isinstance(resizing, FixedSize):
        predict = (_STRETCH if resizing.mode == "stretch" else _LETTERBOX) + _WHOLE
    else:
        assert isinstance(resizing, NativeSize)
        predict = _TILES if resizing.downscale == 1 else _DOWNSCALE + _TILES + _ENLARGE
    imports, read = _create_reading(run, window)
    load = _LOAD.format(path=json.dumps(str(path), ensure_ascii=False))
    code = f"{imports}\n{load}\n{read}{predict}{_CLASSIFY}\n{_PRINT}"
    return code.replace("MAXIMUM", str(get_max_value(run.preprocessing)))


def _create_reading(run: TrainedRun, window: IntensityWindow | None) -> tuple[str, str]:
    """Create the imports, and the code that reads an image as height x width x channels in float32."""
    imports = "import json\n\nimport numpy as np\nimport onnxruntime\n"
    channels, bits = run.preprocessing.channels, run.preprocessing.bits
    is_file = window is None and run.scenes is None
    if is_file and (channels, bits) in ((1, 8), (3, 8)):
        mode, axis = ("L", "[..., None]") if channels == 1 else ("RGB", "")
        read = _OPEN + f'image = np.asarray(original.convert("{mode}"), np.float32){axis}\n'
        return f"{imports}from PIL import Image, ImageOps\n", read
    imports += "import tifffile\nfrom PIL import Image\n"
    read = _OPEN_TIFF_OR_PNG if is_file and (channels, bits) in ((1, 16), (2, 8), (4, 8)) else _OPEN_TIFF
    if run.scenes is not None:
        read = f"# Channels: {run.channel_names}\n{read}"
    read += "image = image[..., None]\n" if channels == 1 else _MOVE_PAGES.format(channels=channels)
    return imports, read if window is None else read + _WINDOW
