# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quick start: one detector, from images to decisions
#
# **Question.** What does SuperSimpleNet do with an image, how is it trained without a single
# defective image, and what do you get out of it?
#
# Every step is a few lines on the package's public functions (`from ssn_lib import ...`). Run the
# cells one after the other, look at the shapes, change a number, run again. It takes about two
# minutes on two processor cores.
#
# In the profile `demo` the images are rendered by the project itself: they show how everything
# works, not how good it is. With `profile = "quick"` and `data_root` set to the folder of
# [MVTec AD](https://www.mvtec.com/company/research/datasets/mvtec-ad) the same cells work on
# photographs, which takes longer: more images, and larger ones.

# %% tags=["parameters"]
profile = "demo"
data_root = None
weights_dir = None
runs_dir = "runs"
category = None
seeds = None
records_dir = None
epochs = None
image_size = None

# %%
import math
from dataclasses import replace

import pandas as pd
import torch
from matplotlib.figure import Figure

from ssn_lib import (
    InputError,
    SuperSimpleNet,
    evaluate,
    fit,
    load_dataset,
    normalise,
    perlin_masks,
    picture_grid,
    predict,
    preset,
    thresholds,
)
from ssn_lib.study.runner import Study

study = Study.of_notebook(globals())  # keeps the figures, and knows where weights may lie
seed = 42

# %% [markdown]
# ## 1. Images
#
# A data set has a training part and a test part. The training part holds *good* images alone:
# defects are rare and all different, so a detector that waits for examples of them comes too late.
# The masks of the test images say which pixels are defective; they are for measuring only.
#
# Larger images are made smaller with antialiasing here, as for `evolved`: every pixel of the file
# counts. The public code interpolates between the four nearest pixels alone, and so do runs of the
# published protocol (`resize="plain"`).

# %%
name = study.categories[0]
size = study.profile.image_size
try:
    if profile == "demo":
        data = load_dataset("demo", category=name, image_size=size)
    else:
        data = load_dataset("mvtec_ad", data_root, category=name, image_size=size)
except InputError as error:  # one line: what is missing, and what to do
    print(f"{error}\nGoing on with rendered images.")
    data = load_dataset("demo", category=name, image_size=size)

for part, images in (("training", data.train), ("test", data.test)):
    defective = int(images.labels.sum())
    shape = tuple(images.images.shape)
    print(f"{part}: {len(images) - defective} good, {defective} defective, {shape} uint8")

# %% [markdown]
# Good images in the first row, one image of every kind of defect in the second. The red line is
# the edge of the mask.

# %%
kinds = [sample.defect.replace("_", " ") for sample in data.test.samples]
shown = [kinds.index(kind) for kind in dict.fromkeys(kinds) if kind != "good"][:6]
good = list(data.train.images[: len(shown)])
study.save(
    "quickstart_images",
    picture_grid(
        good + [data.test.images[i] for i in shown],
        ["good"] * len(good) + [kinds[i] for i in shown],
        outlines=[()] * len(good) + [(data.test.masks[i, 0],) for i in shown],
        columns=len(shown),
        heading=f"{data.name}, {data.category}: good images, and a defective one of each kind",
    ),
)

# %% [markdown]
# ## 2. The network
#
# `preset` names a system of the study. *Scenario A* is SuperSimpleNet with a ResNet18. A *backbone*
# that was trained on ImageNet gives the features and stays as it is; only an *adaptor* and two
# *heads* are trained. Without ImageNet weights the backbone is random: everything runs, but its
# features know little about what things look like.

# %%
scenario_a = preset("scenario_a")
try:
    weights = study.weights(scenario_a.model.backbone)
except InputError as error:
    print(error)
    weights = None
print("backbone:", "ImageNet weights" if weights else "no weights at hand, random ones")
chance = "" if weights else " (untrained backbone)"  # said of every figure and table below

torch.manual_seed(seed)  # of the initial weights
model = SuperSimpleNet(scenario_a.model, weights=weights)
for part, module in model.named_children():
    count = sum(weight.numel() for weight in module.parameters())
    trained = any(weight.requires_grad for weight in module.parameters())
    print(f"{part:9} {count:>10,} parameters, {'trained' if trained else 'frozen'}")

# %% [markdown]
# ## 3. What happens to an image
#
# In training, anomalies are made in the features, not in the image:
#
# 1. Image $x$; the backbone's layers 2 and 3 give $\phi_2$ and $\phi_3$. Both are upscaled to one
#    grid, put on top of each other and averaged over 3×3 neighbours: features $F$.
# 2. The adaptor, a linear layer for each pixel, gives adapted features $Z = a(F)$.
# 3. Smooth random noise (Perlin noise) above a threshold is a mask $m$: a blob, like a defect.
# 4. Gaussian noise $\varepsilon \sim \mathcal N(0, \sigma^2)$ is added inside it:
#    $\tilde Z = Z + \varepsilon \odot m$, and the same to the features that are not adapted,
#    $\tilde F = F + \varepsilon \odot m$.
# 5. The segmentation head makes of $\tilde Z$ *map logits* $M$: above 0 is "defective". It is
#    trained to find $m$. The classification head makes of $\tilde F$ and $M$ one *score logit* $s$.
#    A logit is a number before the sigmoid: above 0 means "more likely yes".

# %%
batch = normalise(data.train.images[:1])
generator = torch.Generator().manual_seed(seed)
sigma = scenario_a.training.noise.std
with torch.no_grad():
    layers = model.backbone(batch)
    features = model.upscale(layers)
    masks = perlin_masks(16, features.shape[-2:], generator=generator)
    mask = masks[(masks.mean((1, 2, 3)) - 0.2).abs().argmin()][None]  # half of all are empty
    noise = sigma * torch.randn(features.shape, generator=generator) * mask


def logits_of(network):
    """What a network's heads say of this image with this noise: map and score."""
    network.eval()
    with torch.no_grad():
        return network.heads(features + noise, network.adaptor(features) + noise)


before, score = logits_of(model)
steps = {"image x": batch, "φ₂": layers[0], "φ₃": layers[1], "features F": features}
steps |= {"mask m": mask, "noise ε ⊙ m": noise, "map logits M": before, "score logit s": score}
for what, tensor in steps.items():
    print(f"{what:13} {tuple(tensor.shape)}")

# %% [markdown]
# Of many channels the picture shows the mean, of the noise the length at each pixel. The map's
# logits mean nothing yet: the heads are not trained.

# %%
pictures = {"image x": data.train.images[0]}
pictures |= {"φ₂, mean": layers[0][0].mean(0), "φ₃, mean": layers[1][0].mean(0)}
pictures |= {"features F, mean": features[0].mean(0), "mask m": mask[0, 0]}
pictures |= {"noise, length": noise[0].norm(dim=0), "M before training": before[0, 0]}
heading = f"From an image to map logits: noise inside a mask is what training must find{chance}"
study.save(
    "quickstart_steps",
    picture_grid(list(pictures.values()), list(pictures), columns=7, heading=heading),
)

# %% [markdown]
# ## 4. Training
#
# The loss compares $M$ with the mask and $s$ with "there is a mask at all". A network that answers
# 0 to everything has the loss $2 \cdot 0.5 + 2 \cdot 0.5^4 \ln 2 = 1.087$ (dashed line): a
# truncated $L_1$ of $M$ (a pixel that is right by ½ counts nothing), one half inside $m$ and one
# outside, and the focal losses of $M$ and of $s$ (a cross-entropy in which what is nearly right
# counts little; notebook 01 has the formulas). A new network starts above the line, since its
# answers are random. While the loss is at the line or above it, the network does not see the noise.
# It has begun to see it when the loss is clearly below (the study takes 10 % below, 0.98). The
# published training has 300 epochs; these are a few, and in the demo too few for that.

# %%
training = replace(scenario_a.training, epochs=study.epochs or 10, batch_size=8)
history = fit(model, data.train, training, seed=seed, progress=None)
seconds = sum(epoch.seconds for epoch in history.epochs)
print(f"{len(history.epochs)} epochs in {seconds:.0f} s, last loss {history.epochs[-1].loss:.3f}")

figure = Figure(figsize=(6, 2.8), layout="constrained")
axes = figure.subplots()
axes.plot([e.epoch for e in history.epochs], [e.loss for e in history.epochs], marker="o")
axes.axhline(1 + 2 * 0.5**4 * math.log(2), color="0.3", ls="--", label="answers 0 to everything")
axes.set(xlabel="epoch", ylabel="training loss")
axes.legend()
figure.suptitle(f"Scenario A{chance}: does it see its own noise?", fontsize=9)
study.save("quickstart_loss", figure)

# %% [markdown]
# The same image, the same noise, the trained heads. If the map is bright where the mask is, the
# network has learned to see this noise.

# %%
after, _ = logits_of(model.cpu())  # where there is a GPU, `fit` has moved it there
study.save(
    "quickstart_trained",
    picture_grid(
        [mask[0, 0], before[0, 0], after[0, 0]],
        ["mask m", "M before training", "M after training"],
        heading=f"Scenario A{chance}: is the noise inside the mask found?",
    ),
)

# %% [markdown]
# ## 5. How good is it?
#
# `predict` gives a map in the image's size and a score, both as raw logits; `evaluate` compares
# them with masks and labels. All metrics are in percent.
#
# - **I-AUROC**: how often a defective image has a higher score than a good one; 50 is chance.
# - **AP-det**: precision of the scores, averaged over all recalls; chance is the defectives' share.
# - **P-AUROC**: I-AUROC of pixels. High for almost any map, since most pixels are good.
# - **AUPRO**: share of a defect that is covered, mean over defects and over all thresholds with up
#   to 30 % false positive pixels. Small defects count as much as large ones.
# - **AP-loc**: AP-det of pixels; chance is the share of defective pixels.
# - **seg-I-AUROC, seg-AP-det**: the image metrics with the map's maximum as the score.

# %%
prediction = predict(model, data.test)
results = {f"Scenario A{chance}": evaluate(prediction, data.test)}
pd.DataFrame(results).T.round(1)

# %% [markdown]
# ## 6. A decision
#
# A score is no decision. The threshold must not be chosen on the test images that measure it:
# `thresholds` takes the 99th percentile of the scores of good training images, and for the map the
# 99.9th percentile of their pixels.


# %%
def decide(network, prediction):
    """Print what a threshold from good images alone decides on the test images; the threshold."""
    limits = thresholds(predict(network, data.train), data.train)
    called, defective = prediction.score > limits.score, data.test.labels == 1
    print(f"threshold of the score: {limits.score:.2f}")
    print(f"defective images found: {(called & defective).sum()} of {defective.sum()}")
    print(f"good images called defective: {(called & ~defective).sum()} of {(~defective).sum()}")
    return limits


limits = decide(model, prediction)

# %% [markdown]
# The map beside the image: red is the true edge, light blue what lies above the map's threshold.


# %%
def overlays(title, prediction, limits):
    """The shown images with true and predicted outline, and their maps below."""
    maps = prediction.anomaly_map
    outlines = [(data.test.masks[i, 0], maps[i, 0] > limits.map) for i in shown]
    return picture_grid(
        [data.test.images[i] for i in shown] + [maps[i, 0] for i in shown],
        [f"{kinds[i]}, score {prediction.score[i]:.2f}" for i in shown] + ["map"] * len(shown),
        outlines=outlines + [()] * len(shown),
        columns=len(shown),
        heading=f"{title}{chance}: true edge red, above the threshold light blue",
    )


study.save("quickstart_maps", overlays("Scenario A", prediction, limits))

# %% [markdown]
# ## 7. Another way: `evolved`
#
# The study's own detector has no synthetic anomalies. A decoder squeezes the features of a good
# image through a bottleneck and rebuilds them; where it fails, the image is unlike the training
# images. A second, local view says how wrong is usual there (notebook 06). The same functions
# train it, predict and evaluate.

# %%
evolved = preset("evolved")
torch.manual_seed(seed)
rebuilder = SuperSimpleNet(evolved.model, weights=weights)
few = replace(evolved.training, epochs=study.epochs or 20)
course = fit(rebuilder, data.train, few, seed=seed, progress=None)
print(f"{few.epochs} epochs in {sum(epoch.seconds for epoch in course.epochs):.0f} s")
second = predict(rebuilder, data.test)
results[f"evolved{chance}"] = evaluate(second, data.test)
limits = decide(rebuilder, second)
pd.DataFrame(results).T.round(1)

# %%
study.save("quickstart_evolved", overlays("evolved", second, limits))

# %% [markdown]
# Compare the two rows of the table with the loss curve above. Where Scenario A's loss has not left
# the dashed line, its heads have learned nothing of the noise. The score may still rank images:
# untrained heads, too, answer to unusual features. That says nothing of the method, and a short
# training says how fast a method learns, not how good it gets. Notebook 01 shows when the published
# trainings left that line.
#
# ## Your own images
#
# Put good images into a folder `good`, and defective ones, if you have any, into `bad` beside it.
# Then set `my_images` to the folder that holds both. This is the least code. For use, take
# `python -m ssn_lib run --dataset folder --data-root my_parts`: larger images, and a threshold from
# good images that were held out. The one below is of images trained on, and so too low.

# %%
my_images = None  # such as "my_parts"
if my_images:
    own = load_dataset("folder", my_images, image_size=(256, 256))
    detector = SuperSimpleNet(evolved.model, weights=weights)
    fit(detector, own.train, replace(evolved.training, epochs=30), seed=seed, progress=None)
    answers = predict(detector, own.test)
    limit = thresholds(predict(detector, own.train), own.train).score
    for sample, score in zip(own.test.samples, answers.score, strict=True):
        print(f"{sample.image.name}: {'defective' if score > limit else 'good'} ({score:.3f})")
    print(evaluate(answers, own.test))

# %% [markdown]
# ## Try it
#
# After a change run the cells from section 2 on again, as `fit` goes on training the same `model`;
# after a change in the parameters, all cells.
#
# - In section 3, `sigma = 0.15`: is the noise now easier to see in the map, before and after
#   training? (The training takes its own σ from `scenario_a.training.noise`.)
# - In section 4, noise that is measured in spreads of the features:
#   `larger = replace(scenario_a.training.noise, std=0.12, std_unit="feature")`, then
#   `replace(scenario_a.training, noise=larger, ...)`, with `epochs = 40` in the parameters. When
#   does the loss fall below the dashed line?
# - In the parameters, `category = "screw"`, or more `epochs`.
#
# ## Where to go on
#
# | notebook | question |
# |---|---|
# | `01_backbone_swap` | what a smaller backbone costs and saves |
# | `02_learned_noise` | noise that is learned, and why the published training was not adversarial |
# | `03_weak_supervision` | image labels in the place of masks |
# | `04_mixed_supervision` | what a few masks add |
# | `06_evolved` | the decoder of section 7: its recipe and its price |
# | `05_report` | every table and figure, and which published claims hold |
#
# From the command line: `python -m ssn_lib run evolved --dataset folder --data-root my_parts`
# trains on your images and keeps the run; `predict`, `export` and the rest are in
# `ssn_lib/deploy/README.md`.

# %%
study.finish("00_quickstart")
