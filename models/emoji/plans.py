"""How large the networks are, and how long each stage trains on what: on a GPU, on a CPU, and a toy of it."""

from dataclasses import dataclass, replace

Size = tuple[int, int]    # height, width


@dataclass(frozen=True)
class Plan:
    # networks
    latent_channels: int
    vae_channels: tuple[int, ...]
    unet_channels: tuple[int, ...]
    text_width: int
    text_layers: int
    text_inner: int
    classifier_channels: tuple[int, int, int, int]
    # what they see
    tiny: tuple[Size, ...]      # the U-Net first of all: mostly filled by their objects, so each is met often
    small: tuple[Size, ...]     # then
    large: tuple[Size, ...]     # at last
    cut: int                    # side of the squares that the autoencoder is trained on
    picture: int                # of those that the classifier is trained on
    variants: int               # of each background at each time of day
    # how long
    autoencoder_steps: int
    autoencoder_batch: int
    classifier_steps: int
    classifier_batch: int
    denoiser_steps: int
    decoder_steps: int
    student_steps: int
    pixels: int                 # of a batch of the U-Net's


FULL = Plan(
    latent_channels=32, vae_channels=(32, 48, 64, 64, 80), unet_channels=(96, 128, 192),
    text_width=192, text_layers=2, text_inner=256, classifier_channels=(32, 64, 128, 192),
    tiny=((128, 128),), small=((256, 256), (256, 256), (256, 384), (384, 256)),
    large=((512, 512), (512, 512), (512, 512), (512, 768), (768, 512), (768, 768)),
    cut=256, picture=256, variants=16, autoencoder_steps=1200, autoencoder_batch=64, classifier_steps=800,
    classifier_batch=128, denoiser_steps=7000, decoder_steps=600, student_steps=600, pixels=512 * 256 * 256)

# The same networks and pictures; smaller batches.
ON_CPU = replace(
    FULL, cut=128, variants=8, autoencoder_batch=16, classifier_steps=1200, classifier_batch=24, denoiser_steps=14900,
    decoder_steps=1400, student_steps=700, pixels=96 * 256 * 256)

TOY = Plan(
    latent_channels=8, vae_channels=(16, 16, 16, 32, 32), unet_channels=(32, 64), text_width=64, text_layers=1,
    text_inner=128, classifier_channels=(16, 24, 32, 48), tiny=((64, 64),), small=((128, 128), (128, 192)),
    large=((256, 256),), cut=64, picture=64, variants=1, autoencoder_steps=12, autoencoder_batch=4, classifier_steps=8,
    classifier_batch=4, denoiser_steps=40, decoder_steps=4, student_steps=4, pixels=8 * 128 * 128)
