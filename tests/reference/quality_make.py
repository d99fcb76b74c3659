"""Writes tests/data/benchmarks/quality.json: FLIP and SSIM of pairs of pictures by other programs.

FLIP by NVIDIA's own flip-evaluator, SSIM by scikit-image. The pictures are made by formulas of whole
numbers, which tests/benchmarks/quality_test.cpp computes too.
"""

import json
import pathlib

import flip_evaluator
import numpy as np
from skimage.metrics import structural_similarity

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "benchmarks"
WIDTH, HEIGHT = 48, 40
PAIRS = [[0, 1], [0, 2], [0, 3], [2, 3]]


def picture(kind: int) -> np.ndarray:
    """0: a slope with a disc; 1: the same, moved; 2: with a seam; 3: with noise."""
    rows = []
    for y in range(HEIGHT):
        row = []
        for x in range(WIDTH):
            u, v = (x + 2, y + 1) if kind == 1 else (x, y)
            inside = (u - 20) ** 2 + (v - 18) ** 2 < 120
            rgb = [40 + 4 * u, 200 - 3 * v, 230 if inside else 30 + u + v]
            if kind == 2 and y >= HEIGHT // 2:
                rgb = [value + 12 for value in rgb]
            if kind == 3:
                rgb = [value + (x * 31 + y * 17 + 7 * x * y) % 41 - 20 for value in rgb]
            row.append([min(max(value, 0), 255) for value in rgb])
        rows.append(row)
    return np.array(rows, dtype=np.uint8)


def flip_of(image: np.ndarray, reference: np.ndarray) -> float:
    scaled = [x.astype(np.float32) / 255 for x in (reference, image)]
    return float(flip_evaluator.evaluate(*scaled, "LDR", inputsRGB=True)[1])


def ssim_of(image: np.ndarray, reference: np.ndarray) -> float:
    weights = np.array([0.299, 0.587, 0.114])
    return float(structural_similarity(
        image @ weights, reference @ weights, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False))  # fmt: skip


def main() -> None:
    cases = []
    for image, reference in PAIRS:
        pair = picture(image), picture(reference)
        cases.append({"picture": image, "reference": reference, "flip": flip_of(*pair),
                      "ssim": ssim_of(*pair)})  # fmt: skip
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "quality.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
