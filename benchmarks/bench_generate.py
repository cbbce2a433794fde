"""Synthetic images and cluster assignments a second, with AstroVaDEr's networks, beside the bare networks.

Weights are untrained: they change no speed. Pictures stay on the device, as do the images that are assigned; writing to
disk and reading from a store are said apart. bfloat16 is taken where the processor computes in it.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch

from _env import arguments, median_of, paired, print_environment, report, set_threads
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import AstroVaDEr
from morphospace.learn.prepare import Preparation
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.stretch import Stretch
from morphospace.space.generate import Decoder, generate
from morphospace.space.generating.decoder import Encoded
from morphospace.space.generating.sample import draw

TARGET = 0.9  # of the bare networks
PAPER = {"decode": 1543, "assign": 1323}  # images a second on each V100, Spindler et al. 2021
WANTED = {"decode": 100_000, "assign": 50_000}  # on one H100
SIZE = 128


def preset(latents: int = 20, *, seed: int) -> AstroVaDEr:
    """AstroVaDEr untrained, with a mixture, as if its warm-up were over."""
    torch.manual_seed(seed)
    method = AstroVaDEr(encoder("astrovader", bands=1), latents=latents)
    with torch.no_grad():
        method.alive.fill_(True)
        method.component_means.normal_()
    return method


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a processor multiplies in bfloat16, rather than pretend to."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(word in flags.read_text() for word in ("amx_bf16", "avx512_bf16"))


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def decoding(decoder: Decoder, n: int, rounds: int) -> dict[str, object]:
    """Draw and decode n images, beside the bare decoder on latents that are there."""
    density, device = decoder.mixture(), decoder.device
    latents = torch.from_numpy(density.draw(n)[0]).to(device, decoder.dtype).split(decoder.batch_size)
    network = copy.deepcopy(decoder.method.generator).to(decoder.dtype)

    def ours() -> None:
        for drawn in draw(decoder, n, density=density):
            last = drawn.images
        wait(device)
        assert last.shape[1:] == (1, SIZE, SIZE)

    @torch.inference_mode()
    def bare() -> None:
        for z in latents:
            network(z)
        wait(device)

    found = paired(rounds, ours, bare)
    return row("decode", decoder, n, found.ours, found.other, found.ratio)


def assigning(decoder: Decoder, n: int, rounds: int) -> dict[str, object]:
    """Say which component n images belong to, beside the bare encoder on the same tensors."""
    device, batch = decoder.device, decoder.batch_size
    images = torch.rand(min(n, 4 * batch), 1, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    blocks = [images[i : i + batch] for i in range(0, len(images), batch)]
    exact = [block.to(decoder.dtype) for block in blocks]
    repeats = max(1, n // len(images))
    network = copy.deepcopy(decoder.method.encoder).to(decoder.dtype)
    names = [""] * batch
    rows = np.arange(batch)

    @torch.no_grad()
    def ours() -> None:
        for x in itertools.chain.from_iterable(itertools.repeat(blocks, repeats)):
            mean, log_variance = decoder.posteriors(x)
            decoder.probabilities(Encoded(rows, names, x, mean, log_variance)).argmax(dim=1)
        wait(device)

    @torch.inference_mode()
    def bare() -> None:
        for x in itertools.chain.from_iterable(itertools.repeat(exact, repeats)):
            network(x)
        wait(device)

    found = paired(rounds, ours, bare)
    return row("assign", decoder, repeats * len(images), found.ours, found.other, found.ratio)


def row(what: str, decoder: Decoder, n: int, ours: float, bare: float, ratio: float) -> dict[str, object]:
    return {
        "what": what,
        "device": decoder.device.type,
        "numbers": str(decoder.dtype).removeprefix("torch."),
        "batch": decoder.batch_size,
        "images/s": n / ours,
        "bare images/s": n / bare,
        "ratio": ratio,
        "paper's V100": PAPER.get(what),
    }


def to_disk(decoder: Decoder, work: Path, n: int, rounds: int) -> dict[str, object]:
    """Write a catalogue: decode, undo the stretch, hash, Parquet."""
    number = itertools.count()
    seconds = median_of(rounds, lambda: generate(decoder, work / f"{next(number)}.cutouts", n=n))
    return row("decode to disk", decoder, n, seconds, float("nan"), float("nan"))


def from_store(decoder: Decoder, cutouts: Cutouts, rounds: int) -> dict[str, object]:
    """Assign the images of a store: read, prepare, encode, responsibilities."""

    def run() -> None:
        for piece in decoder.encode(cutouts):
            decoder.probabilities(piece).argmax(dim=1).cpu()

    seconds = median_of(rounds, run)
    return row("assign from store", decoder, len(cutouts), seconds, float("nan"), float("nan"))


def write(path: Path, n: int, seed: int) -> Cutouts:
    rng = np.random.default_rng(seed)
    with CutoutsWriter(path) as writer:
        for i in range(n):
            image = rng.random((1, SIZE, SIZE), dtype=np.float32)
            writer.append(Cutout(f"o{i}", image, level=(0.0,), sigma=(0.1,)))
    return Cutouts.open(path)


def measure(device: str, work: Path, options) -> list[dict[str, object]]:
    gpu = device == "cuda"
    n = options.images or (65_536 if gpu else 8 if options.quick else 256)
    batch = options.batch or (4096 if gpu else 8 if options.quick else 64)
    preparation = Preparation(size=SIZE, scale="pixel", units="none", stretch=Stretch("linear"))
    kinds = ["float32", *(["bfloat16"] if has_bfloat16(torch.device(device)) else [])]
    rows = []
    cutouts = write(work / f"{device}.cutouts", (1 if options.quick else 4) * batch, options.seed)
    for numbers in kinds:
        decoder = Decoder(preset(seed=options.seed), preparation, device=device, numbers=numbers, batch_size=batch)
        rows += [decoding(decoder, n, options.rounds), assigning(decoder, n, options.rounds)]
        rounds = min(3, options.rounds)
        rows += [to_disk(decoder, work / f"{device}-{numbers}", len(cutouts), rounds)]
        rows += [from_store(decoder, cutouts, rounds)]
    return rows


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=7, help="passes timed, ours and the bare one in turn")
    parser.add_argument("--images", type=int, default=0, help="images of a pass; 0: 256 on a CPU, 65,536 on a GPU")
    parser.add_argument("--batch", type=int, default=0, help="images under way; 0: 64 on a CPU, 4,096 on a GPU")
    parser.add_argument("--device", action="append", choices=("cpu", "cuda"), help="only this one")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    set_threads(options.threads)
    print_environment(
        seed=options.seed,
        rounds=options.rounds,
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    )
    devices = options.device or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    with tempfile.TemporaryDirectory() as folder:
        rows = [found for device in devices for found in measure(device, Path(folder), options)]
    ratios = [float(str(r["ratio"])) for r in rows if r["what"] in PAPER and r["device"] == "cpu"]
    fastest = {
        what: max((float(str(r["images/s"])) for r in rows if (r["what"], r["device"]) == (what, "cuda")), default=None)
        for what in PAPER
    }
    met = all(rate is None or rate >= WANTED[what] for what, rate in fastest.items())
    least = min(ratios) if ratios else None
    report(rows, options.json, ratio_to_bare=least, targets_met=bool(met and (least is None or least >= TARGET)))


if __name__ == "__main__":
    main()
