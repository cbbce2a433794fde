"""Quality of the spaces: k-NN and linear probes of each method beside majority, pixel-PCA and the untrained encoder.

    python benchmarks/bench_quality.py radio galaxies --data ../shared/data --work /tmp/quality

`radio` is the accuracy on 832 certain FRI and FRII sources, `galaxies` the balanced accuracy on 4 classes. Every encoder
is trained on all images of its set without labels; probes are fitted on training folds only. Pixel-PCA is of the same
prepared pixels that the networks see. What has been trained stays in --work, and a second call goes on from there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from _env import arguments, print_environment, report, set_threads
from _quality import SEEDS, Board, Task, load_galaxies, load_radio
from morphospace.errors import MorphospaceError
from morphospace.learn.data import Data, open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import METHODS, Method
from morphospace.learn.record import load_method
from morphospace.learn.train import train
from morphospace.learn.views import Views, plain_view, views
from morphospace.runs import Run
from morphospace.space.embed import symmetries

DEFAULT = "SimCLR"
EPOCHS = {"radio": 80, "galaxies": 20}  # about 400 steps each, of 256 images
LOADERS = {"radio": load_radio, "galaxies": load_galaxies}
PRESETS = {"radio": "radio", "galaxies": "optical"}


class Images:
    """The images of a task as samples."""

    def __init__(self, task: Task) -> None:
        colour = task.images.ndim == 4
        self.images = np.moveaxis(task.images, -1, 1) if colour else task.images[:, None]  # (N, C, H, W)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return {"image": np.ascontiguousarray(self.images[index]), "id": str(index)}


def untrained(data: Data, seed: int) -> Method:
    """The encoder as it starts, its batch statistics measured on the images."""
    torch.manual_seed(seed)
    method = Method(encoder("light", bands=data.bands))
    method.train()
    with torch.no_grad():
        for block in data.epoch(torch.Generator().manual_seed(seed), min(256, len(data))):
            method.encoder(plain_view(block, data.preparation))
    return method.eval()


def trained(name: str, source: Images, looks: Views, epochs: int, seed: int, out: Path) -> Method:
    """Train, or take up what an earlier call has left."""
    if out.exists() and Run.open(out).finished:
        return load_method(Run.open(out))
    torch.manual_seed(seed)
    method = METHODS[name](encoder("light", bands=source.images.shape[1]))
    run: Run = train(method, source, out=out, views=looks, epochs=epochs, seed=seed, resume=out.exists())
    return load_method(run)


@torch.no_grad()
def vectors(method: Method, data: Data, rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of rows, upright and averaged over the eight symmetries, as `embed` makes them."""
    plain, averaged = [], []
    for start in range(0, len(rows), 256):
        x = plain_view(data.rows(rows[start : start + 256].tolist()), data.preparation)
        z = method.outputs(x)["vector"].float()
        plain.append(z)
        averaged.append((z + sum(method.outputs(t)["vector"].float() for t in symmetries(x))) / 8)
    return torch.cat(plain).numpy(), torch.cat(averaged).numpy()


def pixels(data: Data) -> NDArray[np.float32]:
    """What the networks see of every image, upright."""
    n = len(data)
    seen = [plain_view(data.rows(range(i, min(i + 256, n))), data.preparation).numpy() for i in range(0, n, 256)]
    return np.concatenate(seen)


def score_task(task: Task, methods: list[str], size: int, epochs: int, work: Path) -> Board:
    """Train and probe everything on one set."""
    looks = views(PRESETS[task.name], size=size)
    source = Images(task)
    data = open_data(source, looks.prepare)
    board = Board(task)
    board.add_baselines(pixels(data))
    for name in ["untrained", *methods]:
        found = []
        for seed in SEEDS:
            out = work / f"{task.name}-{name}-{seed}"
            method = untrained(data, seed) if name == "untrained" else trained(name, source, looks, epochs, seed, out)
            found.append(vectors(method, data, task.rows))
            print(f"{task.name}: {name}, seed {seed}", flush=True)
        board.add(name, [plain for plain, _ in found], d4=[averaged for _, averaged in found])
        print(board.rows()[-1], flush=True)
    return board


def small(task: Task) -> Task:
    """The first objects of each class, for --quick."""
    chosen = np.sort(np.concatenate([np.flatnonzero(task.labels == c)[:20] for c in np.unique(task.labels)]))
    rows = np.arange(len(chosen))
    ids = tuple(task.ids[i] for i in chosen)
    images = task.images[task.rows[chosen]]
    return Task(task.name, images, rows, task.labels[chosen], ids, task.balanced, components=8)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("tasks", nargs="*", default=["radio", "galaxies"], metavar="TASK", help="radio, galaxies")
    parser.add_argument("--data", default="../shared/data", help="folder with radio/ and galaxies/")
    parser.add_argument("--work", default=None, help="folder for the runs; a temporary one if not given")
    parser.add_argument("--methods", default=",".join(METHODS), help="which methods, by comma")
    parser.add_argument("--size", type=int, default=64, help="side of the network's input")
    args = parser.parse_args()
    set_threads(args.threads)
    print_environment(tasks=args.tasks, methods=args.methods, size=args.size)
    if not Path(args.data).is_dir():
        report([], args.json, skipped=f"the labelled sets are not at {args.data}")
        return
    methods = [m for m in args.methods.split(",") if m]
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(args.work or scratch)
        for name in args.tasks:
            task = LOADERS[name](args.data)
            task = small(task) if args.quick else task
            board = score_task(task, methods, args.size, 2 if args.quick else EPOCHS[name], work)
            print(f"\n## {name}\n\n{board.markdown(DEFAULT)}\n")
            rows += [{"set": name, **row} for row in board.rows()]
            for average in ("plain", "d4"):
                verdicts[f"{name}_{average}_excludes_0"] = board.excludes_zero(DEFAULT, average)
    report(rows, args.json, **verdicts)


if __name__ == "__main__":
    try:
        main()
    except MorphospaceError as error:
        raise SystemExit(f"Error: {error}") from None
