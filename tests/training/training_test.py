"""models/emoji: scenes, and a toy model trained, resumed, exported and drawn with. Argument: the program generate."""

import hashlib
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "models" / "emoji"
NEEDED = ("torch", "diffusers", "transformers", "safetensors", "PIL", "numpy")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if MISSING:
    print(f"SKIPPED: {sys.executable} has no {', '.join(MISSING)}")
    sys.exit(0)

GENERATE = sys.argv.pop()
sys.path.insert(0, str(SCRIPTS))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

import unpack
from autoencoder import SQUARES, Autoencoder, pictures_to_fit, places_to_cut, unlike
from checkpoints import load_checkpoint, trained
from classifier import BEND, CELL, FOUND, Classifier, bent
from data import FIRST_PARTS, PART, PARTS, Pictures, SceneMaker, box_weights, covered
from networks import PATCH
from noising import Noising
from plans import TOY
from scenes import all_words, words_of
from tokenizer import TOKENS, quick_tokens, write_tokenizer
from vocabulary import BACKGROUNDS, HELD_OUT_PAIRS, HELD_OUT_PLACES, OBJECTS, is_held_out

SQUARE, TALL = (128, 128), (192, 128)


class Scenes(unittest.TestCase):
    def test_the_vocabulary_is_as_large_as_the_card_says(self):
        self.assertEqual((len(OBJECTS), len(BACKGROUNDS)), (185, 12))
        self.assertEqual(len({name for obj in OBJECTS for name in obj.names}), sum(len(o.names) for o in OBJECTS))

    def test_what_is_kept_from_training_never_changes(self):
        kept = sorted(map(sorted, HELD_OUT_PAIRS)), sorted(HELD_OUT_PLACES)
        self.assertEqual(hashlib.sha256(repr(kept).encode()).hexdigest()[:16], "ee1ce83f936f2031")

    def test_no_training_scene_is_held_out_and_every_held_out_one_is(self):
        for held_out in (False, True):
            for scene in SceneMaker(1, held_out)((1,), 300, SQUARE, keep=True).scenes:
                objects = sorted({item.object for item in scene.placed})
                self.assertEqual(is_held_out(objects, scene.background), held_out, scene.caption)

    def test_captions_hold_known_words_and_fit(self):
        known = set(all_words())
        for scene in SceneMaker(1)((2,), 500, (512, 512), keep=True).scenes:
            words = words_of(scene.caption)
            self.assertLessEqual(set(words), known, scene.caption)
            self.assertLessEqual(len(words), TOKENS - 2)

    def test_objects_stand_where_the_caption_says_and_inside(self):
        for size in (SQUARE, TALL, TALL[::-1]):
            for scene in SceneMaker(1)((3,), 300, size, keep=True).scenes:
                middles = {}
                for item in scene.placed:
                    middles.setdefault(item.object, []).append((item.x, item.y))
                    reach = item.width * min(size) / size[1] / 2
                    self.assertTrue(-0.01 < item.x - reach and item.x + reach < 1.01, scene.caption)
                for place in scene.places:
                    one, axis = middles[place.first], place.kind == "above"
                    if place.second is not None:
                        other = middles[place.second]
                        self.assertLess(max(m[axis] for m in one), min(m[axis] for m in other), scene.caption)

    def test_tokens_are_those_of_the_tokenizer_that_is_exported(self):
        captions = [s.caption for s in SceneMaker(1)((4,), 50, SQUARE, keep=True).scenes]
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(folder)
            made = CLIPTokenizer.from_pretrained(folder)(
                captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids
        self.assertTrue(torch.equal(made, torch.stack([quick_tokens(c) for c in captions])))


class Rendering(unittest.TestCase):
    def test_a_picture_is_the_backdrop_outside_the_boxes_and_not_inside(self):
        pictures = Pictures(torch.device("cpu"), 1)
        batch = SceneMaker(1)((5,), 12, TALL)
        batch.items[..., 4] = 0      # no shadows
        drawn = pictures(batch)
        batch.chosen[:, 2:] = -1
        changed = (drawn - pictures(batch)).abs().amax(1, keepdim=True) > 0.02
        inside = torch.nn.functional.interpolate(box_weights(batch, 8), scale_factor=8.0)
        inside = torch.nn.functional.max_pool2d(inside, 5, 1, 2) > 0      # an outline's blur reaches two pixels out
        self.assertEqual(int((changed & ~inside).sum()), 0)
        self.assertGreater(float((changed & inside).sum() / inside.sum()), 0.3)

    def test_cells_name_the_nearest_object_and_which_part_of_it_they_show(self):
        batch = SceneMaker(1)((6,), 100, TALL)
        cells, boxes = covered(batch, 48, 32), box_weights(batch, 4)[:, 0] > 0
        self.assertFalse(bool((cells.objects > 0)[~boxes].any()))
        self.assertTrue(bool(((cells.parts >= 0) & (cells.parts < PARTS)).all()))
        apart = PART * 48 // TALL[0]      # cells
        for objects, items, kinds, parts in zip(batch.objects, batch.items, cells.objects, cells.parts):
            front = int((objects >= 0).sum()) - 1
            x, y, width, height = items[front, :4].tolist()
            side = round(max(width, height) * min(TALL))
            row, column = int(y * 48), int(x * 32)
            self.assertEqual(int(kinds[row, column]), int(objects[front]) + 1)
            self.assertEqual(int(parts[row, column] - FIRST_PARTS[side]) % (side // PART), side // PART // 2)
            for to, further in (((row, column - 2), -1), ((row - apart, column), side // PART)):
                if kinds[to] == kinds[row, column]:
                    self.assertEqual(int(parts[to] - parts[row, column]), further)

    def test_small_objects_count_more(self):
        batch = SceneMaker(1)((7,), 60, (512, 512))
        weights = box_weights(batch, PATCH)
        for objects, items, weight in zip(batch.objects, batch.items, weights[:, 0]):
            alone = int((objects >= 0).sum()) == 1
            x, y, width, height = items[0, :4].tolist()
            expected = max(1.0, 128 / round(max(width, height) * 512))
            met = float(weight[int(y * 32), int(x * 32)])
            self.assertTrue(met == expected if alone else met >= expected)
        self.assertEqual(sorted(set(weights.flatten().round(decimals=3).tolist())), [0.0, 1.0, 2.0])

    def test_squares_to_learn_from_lie_inside_and_show_objects(self):
        batch = SceneMaker(1)((8,), 40, (256, 384))
        places = places_to_cut(batch, 128, torch.Generator().manual_seed(1))
        self.assertEqual(len(places), 40 * SQUARES)
        for i, (row, column) in enumerate(places):
            top, left = row * PATCH, column * PATCH
            self.assertTrue(0 <= top <= 256 - 128 and 0 <= left <= 384 - 128)
            there = batch.items[i // SQUARES][batch.objects[i // SQUARES] >= 0]
            shown = [top <= y * 256 <= top + 128 and left <= x * 384 <= left + 128 for x, y in there[:, :2].tolist()]
            self.assertTrue(i % SQUARES == 0 or any(shown))

    def test_a_picture_is_unlike_another_the_more_the_object_differs(self):
        pixels = torch.zeros(1, 3, 2 * PATCH, 2 * PATCH)
        objects = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
        in_object, beside = pixels.clone(), pixels.clone()
        in_object[..., 2:6, 2:6], beside[..., -6:-2, -6:-2] = 1.0, 1.0
        self.assertEqual(float(unlike(pixels, pixels, objects)), 0.0)
        self.assertAlmostEqual(float(unlike(in_object, pixels, objects) / unlike(beside, pixels, objects)), 7.0, places=4)


class Looking(unittest.TestCase):
    def test_what_only_one_size_shows_is_found_where_it_is(self):
        """The detector is stood in for by one that finds object 0 in white cells and object 1 in even ones."""
        class Cells(Classifier):
            def forward(self, pixels):
                mean = F.avg_pool2d(pixels, CELL).mean(1, keepdim=True)
                spread = F.max_pool2d(pixels, CELL).mean(1, keepdim=True) - mean
                heat = torch.full((len(pixels), len(OBJECTS), *mean.shape[2:]), -9.0)
                heat[:, 0:1], heat[:, 1:2] = 20 * (mean - 0.8), 20 * (0.1 - spread)
                return heat, heat.mean((2, 3))[:, :len(BACKGROUNDS)], mean.mean((2, 3))

        side = 2 * TOY.picture
        pixels = (torch.arange(side) % 2).float().expand(1, 3, side, side).contiguous()     # even only where scaled down
        pixels[:, :, CELL:2 * CELL, -2 * CELL:-CELL] = 1      # one white cell, too small where scaled down
        seen = Cells(TOY).look(pixels)
        self.assertEqual((seen.scores[0] >= FOUND).nonzero().flatten().tolist(), [0, 1])
        self.assertEqual(int(seen.counts[0, 0]), 1)
        self.assertLess((seen.where[0, 0] - torch.tensor([1 - 1.5 * CELL / side, 1.5 * CELL / side])).abs().max(), CELL / side)

    def test_pictures_to_learn_from_are_bent_by_a_few_pixels(self):
        side = 128
        columns = torch.arange(side).float().expand(4, 3, side, side)      # each pixel tells where it came from
        inner = slice(side // 4, -side // 4)
        moved = (bent(columns, torch.Generator().manual_seed(1)) - columns)[:, :, inner, inner].abs().amax((1, 2, 3))
        self.assertGreater(moved.max(), BEND / 2)
        self.assertLess(moved.max(), 4 * BEND)


class Training(unittest.TestCase):
    def test_what_is_predicted_of_noisy_latents_tells_the_clean_ones(self):
        noising, generator = Noising(torch.device("cpu")), torch.Generator().manual_seed(1)
        clean, noise = torch.randn(2, 3, 4, 5, 6, generator=generator)
        at, to = torch.tensor([0, 400, 999]), torch.tensor([-1, 250, 749])
        noisy, v = noising.noised(clean, noise, at), noising.v(clean, noise, at)
        self.assertTrue(torch.allclose(noising.clean(noisy, v, at), clean, atol=1e-5))
        self.assertTrue(torch.allclose(noising.jump(noisy, v, at, to), noising.noised(clean, noise, to), atol=1e-5))
        self.assertTrue(torch.equal(noising.noised(clean, noise, torch.full((3,), -1)), clean))

    def test_a_linear_map_fitted_again_is_turned_to_what_the_encoder_learnt(self):
        shown = pictures_to_fit(TOY, Pictures(torch.device("cpu"), 1))
        before, again = Autoencoder(TOY), Autoencoder(TOY)
        before.fit(shown)
        again.load_state_dict(before.state_dict())
        again.weight[1::2] *= -1
        again.bias[1::2] *= -1
        learnt = before.encode(shown[0])
        unpack.turn_to(again, learnt + 0.3 * torch.randn(learnt.shape, generator=torch.Generator().manual_seed(1)) *
                       learnt.std((0, 2, 3), keepdim=True), shown[0])
        self.assertTrue(torch.equal(again.encode(shown[0]), learnt))
        with self.assertRaisesRegex(SystemExit, "not trained on these scripts' scenes"):
            unpack.turn_to(again, learnt.roll(1, 0), shown[0])

    def train(self, work: str, *options: str) -> str:
        command = [sys.executable, SCRIPTS / "train.py", "--toy", "--work", work, "--workers", "0", "--report", "1"]
        return subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout

    def test_a_toy_learns_resumes_exactly_and_draws(self):
        with tempfile.TemporaryDirectory() as folder:
            work, model, picture = f"{folder}/work", f"{folder}/model", f"{folder}/picture.png"
            log = self.train(work)
            for stage in ("autoencoder", "denoiser"):
                losses = [float(x) for x in re.findall(rf"{stage} \d+/\d+ loss (\S+)", log)]
                self.assertLess(sum(losses[-3:]), sum(losses[:3]), stage)
            path = f"{work}/denoiser.pt"
            whole = load_checkpoint(path)[1]["stage"]
            os.remove(path)
            self.train(work, "--stages", "denoiser", "--stop-at", "7")
            self.assertEqual(load_checkpoint(path)[0], 7)
            self.train(work, "--stages", "denoiser")
            resumed = load_checkpoint(path)[1]["stage"]
            for name, weight in whole["average"].items():
                self.assertTrue(torch.equal(weight, resumed["average"][name]), name)
            packed = f"{folder}/packed"
            subprocess.run([sys.executable, SCRIPTS / "checkpoints.py", "--work", work, "--out", packed], check=True)
            self.train(packed, "--stages", "denoiser", "--set", "denoiser_steps=22")
            self.train(packed, "--stages", "decoder", "student")
            subprocess.run([sys.executable, SCRIPTS / "export.py", "--toy", "--work", packed, "--stage", "student",
                            "--out", model], check=True, capture_output=True)
            for script, *options in (("export.py", "--toy", "--out", packed), ("export.py", "--toy", "--out", folder),
                                     ("checkpoints.py", "--out", packed)):
                refused = subprocess.run([sys.executable, SCRIPTS / script, "--work", packed, *options],
                                         capture_output=True, text=True)
                self.assertIn("name an", refused.stderr)      # folder
            self.assertTrue(os.path.exists(f"{packed}/autoencoder.pt"))
            with mock.patch("unpack.ALIKE", 0.0):      # a toy's encoder learns nothing
                unpack.unpack(TOY, model, f"{folder}/unpacked", 1)
            self.assertLess(max(float((trained(f"{folder}/unpacked", "denoiser")[name] - weight).abs().max())
                                for name, weight in trained(packed, "student").items() if "told" not in name), 1e-3)
            with self.assertRaisesRegex(SystemExit, "already"):
                unpack.unpack(TOY, model, f"{folder}/unpacked", 1)
            further = TOY.denoiser_steps + 2
            self.train(f"{folder}/unpacked", "--stages", "denoiser", "--set", f"denoiser_steps={further}")
            self.assertEqual(load_checkpoint(f"{folder}/unpacked/denoiser.pt")[0], further)
            subprocess.run([GENERATE, "--model", model, "--prompt", "two red cars on snow", "--steps", "3",
                            "--ranks", "2", "--threads", "1", "--output", picture], check=True, capture_output=True)
            self.assertGreater(os.path.getsize(picture), 1000)


if __name__ == "__main__":
    unittest.main()
