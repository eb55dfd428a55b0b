"""Trains the two example checkpoints on synthetic gestures and writes all files of this folder.

Usage: python make_examples.py [transformer|gru]...      (both by default; needs torch and numpy, minutes on one core)

Writes Transformer.pt (a training dict), GRU.pt (a bare state dict), samples.npz (held-out windows `X` and their glosses
`y`) and expected_logits.npz (what PyTorch computes for them in float32). Prints the accuracy on held-out gestures.
"""

import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

from gestures import CATEGORIES, FEATURES, GLOSSES, batch, category_of

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "fixtures"))

from models import MediaPipeGRU, SignTransformer  # noqa: E402  (the line above makes them importable)

TRAIN_PER_GLOSS, TEST_PER_GLOSS = 48, 8
FRAMES = 60
SAMPLES = 8

TRANSFORMER = dict(
    input_dim=FEATURES,
    emb_dim=128,
    n_heads=4,
    n_layers=3,
    num_gloss=GLOSSES,
    num_cat=CATEGORIES,
    max_len=300,
    ff_dim=512,
    pooling_method="mean",
    dropout=0.1,
)
GRU = dict(input_dim=FEATURES, hidden1=192, hidden2=128, num_gloss=GLOSSES, num_cat=CATEGORIES, dropout=0.2)


def gestures(per_gloss, seed):
    """Tensors x `[N, FRAMES, FEATURES]`, gloss `[N]` and category `[N]`, shuffled."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(GLOSSES), per_gloss))
    x = torch.from_numpy(batch(labels, FRAMES, generator))
    categories = torch.tensor([category_of(label) for label in labels])
    return x, torch.from_numpy(labels), categories


def stretched(x):
    """`x` at a random other length, between half and all of its frames, for models that must not count frames."""
    frames = int(torch.randint(FRAMES // 2, FRAMES + 1, ()))
    return x[:, torch.linspace(0, FRAMES - 1, frames).round().long()]


def accuracy(model, data):
    """The share of correct glosses and of correct categories."""
    x, gloss, category = data
    model.eval()
    with torch.no_grad():
        outputs = [model(part) for part in x.split(64)]
    gloss_right = torch.cat([g.argmax(-1) for g, _ in outputs]) == gloss
    category_right = torch.cat([c.argmax(-1) for _, c in outputs]) == category
    return gloss_right.double().mean().item(), category_right.double().mean().item()


def train(model, data, test, epochs, peak_rate):
    """Trains `model` on the gloss and, with less weight, on the category; returns its accuracy on `test`."""
    x, gloss, category = data
    size = 32
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.01)
    steps = epochs * (len(x) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps, pct_start=0.15)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        began, total = time.monotonic(), 0.0
        model.train()
        order = torch.randperm(len(x))
        for start in range(0, len(x) - size + 1, size):
            rows = order[start : start + size]
            gloss_logits, category_logits = model(stretched(x[rows]))
            loss = loss_of(gloss_logits, gloss[rows]) + 0.3 * loss_of(category_logits, category[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        measured = accuracy(model, test)
        print(
            f"  epoch {epoch + 1:2}  loss {total * size / len(x):.3f}  held-out gloss {measured[0]:.1%}"
            f"  category {measured[1]:.1%}  {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return measured


def make_transformer(data, test):
    """Trains and saves Transformer.pt."""
    print("SignTransformer")
    torch.manual_seed(7)
    model, epochs = SignTransformer(**TRANSFORMER), 14
    gloss, category = train(model, data, test, epochs, peak_rate=1e-3)
    checkpoint = {
        "epoch": epochs,
        "model_state_dict": model.state_dict(),
        "config": TRANSFORMER,
        "accuracy": {"gloss": gloss, "category": category},
    }
    torch.save(checkpoint, HERE / "Transformer.pt")


def make_gru(data, test):
    """Trains and saves GRU.pt."""
    print("MediaPipeGRU")
    torch.manual_seed(8)
    model = MediaPipeGRU(**GRU)
    train(model, data, test, epochs=16, peak_rate=3e-3)
    torch.save(model.state_dict(), HERE / "GRU.pt")


def write_samples(test):
    """Writes samples.npz and, with the models as saved, expected_logits.npz."""
    transformer, gru = SignTransformer(**TRANSFORMER).eval(), MediaPipeGRU(**GRU).eval()
    transformer.load_state_dict(torch.load(HERE / "Transformer.pt")["model_state_dict"])
    gru.load_state_dict(torch.load(HERE / "GRU.pt"))
    x, y = test[0][:SAMPLES], test[1][:SAMPLES]
    np.savez_compressed(HERE / "samples.npz", X=x.numpy(), y=y.numpy())
    with torch.no_grad():
        logits = {"transformer": transformer(x)[0].numpy(), "gru": gru(x)[0].numpy()}
    np.savez_compressed(HERE / "expected_logits.npz", **logits)
    for name, values in logits.items():
        print(f"{name}: {np.mean(values.argmax(-1) == y.numpy()):.0%} of the {SAMPLES} samples right")


def main(wanted):
    torch.set_num_threads(1)
    data, test = gestures(TRAIN_PER_GLOSS, seed=1), gestures(TEST_PER_GLOSS, seed=2)
    print(f"{len(data[0])} gestures to train, {len(test[0])} held out, {FRAMES} frames of {FEATURES} features")
    for name, make in (("transformer", make_transformer), ("gru", make_gru)):
        if name in wanted:
            make(data, test)
    write_samples(test)


if __name__ == "__main__":
    main(sys.argv[1:] or ["transformer", "gru"])
