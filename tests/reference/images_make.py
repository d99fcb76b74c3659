"""Makes the JPEG files that the C++ tests read, and what Pillow reads of them.

    python3 tests/reference/images_make.py [--output tests/data/images]

It writes pictures of smooth colours, the right way up as Pillow's exif_transpose has them, beside
each a PNG file of what Pillow reads:

- colour.jpg, with halved colour channels; progressive.jpg; grey.jpg;
- seen_1.jpg to seen_8.jpg, which say in their Exif data which side is up;
- turned.png, which does so too, and turned_seen.png, what it shows;
- cmyk.jpg, of four inks, which is to be refused and has no PNG file.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 37, 23
ORIENTATION = 0x0112


def picture() -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    channels = [x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1), 127 + 120 * np.sin(x / 5 + y / 3)]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8), "RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("tests/data/images"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    colours = picture()
    colours.save(output / "colour.jpg", quality=90, subsampling="4:2:0")
    colours.save(output / "progressive.jpg", quality=90, progressive=True)
    colours.convert("L").save(output / "grey.jpg", quality=90)
    colours.convert("CMYK").save(output / "cmyk.jpg", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        colours.save(output / f"seen_{orientation}.jpg", quality=90, exif=exif)
    colours.save(output / "turned.png", exif=exif)
    ImageOps.exif_transpose(Image.open(output / "turned.png")).save(output / "turned_seen.png")
    for file in sorted(output.glob("*.jpg")):
        with Image.open(file) as stored:
            if stored.mode != "CMYK":
                ImageOps.exif_transpose(stored).convert("RGB").save(file.with_suffix(".png"))


if __name__ == "__main__":
    main()
