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
# # Modification 1: backbone swap
#
# **Question.** SuperSimpleNet's frozen WideResNet50-2 is most of its size. Can a ResNet18 take its
# place, what does that cost in accuracy, and what does it save?
#
# | system | backbone | adaptor |
# |---|---|---|
# | baseline | WideResNet50-2 | 1×1 convolution |
# | Scenario A | ResNet18 | 1×1 convolution |
# | Scenario B | ResNet18 | 3×3 convolution, BatchNorm, ReLU |
#
# Beside them stands SimpleNet, the ancestor, with a ResNet18. You see first the images, then the
# settings, then one step of the method that you can run and change, and only then the results.
# `profile` decides how much is run: `demo` (the project's own rendered images, minutes), `quick`
# (real images, few epochs) or `full` (the published protocol, which wants a GPU).

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
presets = None
try_it = False

# %%
import torch
from matplotlib.figure import Figure

from ssn_lib import normalise, picture_grid, preset
from ssn_lib.study.at_hand import example_images, fresh_network
from ssn_lib.study.report import Report
from ssn_lib.study.runner import Study
from ssn_lib.study.systems import (
    ABLATION_PRESETS,
    NOISE_CATEGORIES,
    NOISE_PRESETS,
    SWAP_PRESETS,
    colour,
    title,
)

study = Study.of_notebook(globals())
report = Report(study)

# %% [markdown]
# ## The images
#
# Bottle is a simple object, carpet a texture, screw an object with a fine thread that lies at any
# angle. Training sees the good images only. Look at how small the defects of screw are: on a grid
# of an eighth of the image some are a pixel or two.

# %%
report.save("data_plates")

# %% [markdown]
# ## The settings
#
# What the systems differ in, and what they share: σ is the deviation of the training noise, γ the
# exponent of the focal loss.

# %%
report.save("settings_swap")

# %% [markdown]
# ## How it works
#
# A frozen backbone turns the image $x$ into the outputs $\phi_2$ and $\phi_3$ of its layers 2 and
# 3. Both are upscaled to twice the grid of $\phi_2$, concatenated and averaged over 3×3
# neighbours: features $F$. The adaptor $a$ gives the adapted features $Z = a(F)$. In training the
# batch is duplicated, and Gaussian noise is added inside Perlin masks $m$, which are empty for
# half of the samples:
# $$\tilde Z = Z + \varepsilon \odot m, \qquad \varepsilon \sim \mathcal N(0, \sigma^2).$$
# The segmentation head maps $\tilde Z$ to map logits $M$. The classification head maps
# $(F + \varepsilon \odot m,\ M)$ to the score logit $s$; its gradient stops at $M$, so the score
# does not teach the segmentation head. The label $y$ is 1 where $m$ is not empty. At test time
# there is no noise; $M$ is interpolated to the image's size and blurred (Gaussian, 4 pixels). The
# loss is
# $$\mathcal L = \mathcal L_1(M, m) + \mathcal L_\text{focal}(M, m)
#   + \mathcal L_\text{focal}(s, y).$$
#
# The truncated $L_1$ loss wants normal pixels below −0.5 and anomalous ones above 0.5, and takes
# the mean over each kind:
# $$\mathcal L_1 = \operatorname{mean}_{m=0} \max(0,\, M + 0.5)
#   + \operatorname{mean}_{m=1} \max(0,\, 0.5 - M).$$
# The focal loss is a cross-entropy in which what is already right counts little. With $p$ the
# sigmoid of the logit where the target is 1, and $1 - p$ in its place where it is 0 ($p_t$),
# $$\mathcal L_\text{focal} = \operatorname{mean}\, (1 - p_t)^\gamma\, (-\log p_t),
#   \qquad \gamma = 4.$$
# A network that answers 0 to everything has
# $\mathcal L = 2 \cdot 0.5 + 2 \cdot 0.5^4 \ln 2 = 1.087$: remember this number.

# %%
report.save("architecture")

# %% [markdown]
# ### Run it: what two backbones make of one image
#
# The cell sends one image through both. Look at the number of channels and of parameters: the
# grids are the same, the ResNet18 has a quarter of the channels. (Without ImageNet weights a
# backbone is random; the cell says so. The shapes and numbers of parameters are the same.)

# %%
images = example_images(study, study.categories[0])
batch = normalise(images.images[:4])
pictures, names, untrained = [images.images[0]], ["image x"], []
for name in ("baseline", "scenario_a"):
    network = fresh_network(study, preset(name).model)
    count = sum(weight.numel() for weight in network.parameters())
    trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    print(f"  {count:,} parameters, {trained:,} of them trained")
    untrained += [] if network.weights_source else [network.config.backbone]
    with torch.no_grad():
        layers = network.backbone(batch)
        features = network.upscale(layers)
    for what, tensor in {"φ₂": layers[0], "φ₃": layers[1], "F": features}.items():
        print(f"  {what} {tuple(tensor.shape[1:])}")
        pictures.append(tensor[0].mean(0))
        names.append(f"{what} of {network.config.backbone}")
chance = f" (untrained: {', '.join(untrained)})" if untrained else ""
heading = f"One image, two backbones{chance}: the same grids (mean over channels)"
study.save("swap_features", picture_grid(pictures, names, columns=7, heading=heading))

# %% [markdown]
# ### Run it: is the noise large enough to be seen?
#
# σ is an absolute number, so what it means depends on the features that it is added to. The cell
# takes the adapted features $Z$ of Scenario A and B before training and compares their spread (the
# standard deviation over all pixels and channels) with σ. Scenario B's adaptor ends in BatchNorm
# and ReLU, which fix the spread of its features, whatever the backbone gives; Scenario A's follows
# the backbone, so it is another one where the weights are random.

# %%
sigma = preset("scenario_a").training.noise.std
figure = Figure(figsize=(6.5, 3.4), layout="constrained")
axes = figure.subplots()
for name in ("scenario_a", "scenario_b"):
    network = fresh_network(study, preset(name).model)
    with torch.no_grad():
        adapted = network.train().adaptor(network.features(batch))  # BatchNorm as in training
    share = f"{100 * sigma / adapted.std().item():.1f} %"
    print(f"{title(name)}: spread {adapted.std():.3f}, σ is {share} of it")
    channels = adapted.std(dim=(0, 2, 3))
    label = f"{title(name)}: σ is {share} of the spread of all channels together"
    axes.hist(channels, bins=40, alpha=0.7, color=colour(name), label=label)
axes.axvline(sigma, color="black", ls="--", label=f"noise: σ = {sigma}")
axes.set(xlabel="standard deviation of a channel of Z, before training", ylabel="channels")
figure.legend(loc="outside lower center", fontsize=8)
chance = "" if network.weights_source else " (untrained backbone)"
heading = f"How large is the noise against the features that it is added to?{chance}"
figure.suptitle(heading, fontsize=9)
study.save("swap_noise", figure)

# %% [markdown]
# Remember it for *Why does Scenario B fail?* below.
#
# ## Runs
#
# Every run is trained once and answered from its record afterwards; so is every cost. A cell that
# could not be filled says why below its table.

# %%
study.run_all((*SWAP_PRESETS, *ABLATION_PRESETS))
study.run_all(NOISE_PRESETS, NOISE_CATEGORIES)
study.efficiency(SWAP_PRESETS)
report = Report(study)  # which reads the records that are there now

# %% [markdown]
# ## What we see
#
# These sentences are made by rule from the records of real images that come with the project,
# whatever this notebook ran. I-AUROC is the probability that a defective image scores above a good
# one, in percent (50 is chance); the other metrics, and what *folded* means, follow below.

# %%
report.save("seen_swap")

# %% [markdown]
# ## The metrics
#
# All are in percent and depend on the order of the values alone. $t$ runs over all thresholds.
#
# - **I-AUROC**: the probability that a defective image ($s^+$) has a higher score than a good one
#   ($s^-$), ties counting half: $P(s^+ > s^-) + \tfrac12 P(s^+ = s^-)$. Chance is 50.
# - **AP-det**: average precision of the images, $\sum_n (R_n - R_{n-1})\, P_n$, with precision
#   $P_n$ and recall $R_n$ at the $n$-th threshold from above. Chance is the share of defective
#   images.
# - **P-AUROC**, **AP-loc**: the same two of the pixels of all test images together. Few pixels are
#   defective, so P-AUROC flatters and AP-loc does not.
# - **AUPRO**: the area under the per-region overlap, up to 30 % false positive pixels,
#   $\frac{1}{0.3}\int_0^{0.3} \mathrm{PRO}\; d\,\mathrm{FPR}$. $\mathrm{PRO}(t)$ is the share of a
#   defect's pixels at or above $t$, averaged over all connected defects: a small one counts as
#   much as a large one. $\mathrm{FPR}(t)$ is the share of normal pixels at or above $t$.
# - **seg-I-AUROC**, **seg-AP-det**: I-AUROC and AP-det of the map's maximum in the score's place.
#
# ## Accuracy
#
# Read each row from the slides' baseline to Scenario A and B, then compare "here" with "slides".
# Look for the category in which the smaller backbone costs most.

# %%
report.save("backbone_swap")

# %% [markdown]
# By the published protocol, where such runs are at hand. These decide whether the slides' figures
# are reproduced. The table above has this profile's own number of epochs, which in `full` is that
# of the published protocol.

# %%
report.save("backbone_swap_full")

# %% [markdown]
# ## From SimpleNet to SuperSimpleNet
#
# What each step of the slides' comparison buys: finer features; contiguous anomalies in the place
# of noise everywhere; and, in one step, a classification head in the place of the map's maximum
# and the focal losses, so that this step cannot be laid to either alone. Look at the step after
# which a short training falls behind.

# %%
report.save("ablation")

# %% [markdown]
# ## Efficiency
#
# *Latency* is the time of one image, *throughput* images per second in batches. Published on a
# Tesla P100 with half precision; measured on this device in single precision. Only ratios within
# one device compare.
#
# Every network comes in two forms. *Plain* is the published one, operation by operation. *Folded*
# has the same outputs: from a layer $\phi_l$ of the backbone to the heads' first non-linearity
# everything is linear. What acts on channels ($W$: adaptor, first convolution, BatchNorm) commutes
# with what acts on rows and columns ($R$, $C$: upscaling and averaging),
# $$W (R\, \phi_l\, C^\top) = R\, (W \phi_l)\, C^\top,$$
# so channels are multiplied at the backbone's resolution and interpolated afterwards. Scenario B's
# adaptor is not linear, so only what lies before and behind it is folded; of `evolved` (notebook
# 06) only the BatchNorm is. Compare the two forms of one system, then the systems in one form.

# %%
report.save("efficiency")

# %% [markdown]
# On a GPU: in single precision, and in half precision as published where `make gpu` or `make bench`
# measured it. Look at how much smaller the ratios are for single images.

# %%
report.save("efficiency_gpu")

# %% [markdown]
# On a production line nobody needs PyTorch. Exported for OpenVINO, a network can compute in 16 bits
# (bf16) or 8 (int8), on processors that have units for them several times faster. What that costs
# in accuracy is measured before a file is written: the table has the change of each metric against
# float32 on the run's own test images. An export that loses more than 0.3 points is refused.

# %%
report.save("exports")

# %% [markdown]
# Latency against counted arithmetic. On a dotted line the rate is the same, and it is lower on a
# line that lies higher. A network on such a line waits for something other than arithmetic, such as
# memory.

# %%
report.save("roofline")

# %% [markdown]
# The slides' question in one picture: what is up and to the left is accurate and fast.

# %%
report.save("tradeoff")

# %% [markdown]
# ## How the published runs went
#
# The author's public notebook keeps the logs of the runs behind the slides. The dashed line is
# 1.087, the loss of a network that answers 0 to everything: a training at that line has not
# learned to see its own anomalies. The table says when the published runs left it: look for
# Scenario B, which never did, and for how long the other two took. A short training stands at the
# line too, whoever trains it.

# %%
report.save("published_leaving")

# %%
report.save("published_courses")

# %% [markdown]
# Trainings here at the published batch size, beside the log of the same epochs: do they stand
# where the published ones stood?

# %%
report.save("published_start")

# %% [markdown]
# The published protocol run here, over the published courses.

# %%
report.save("full_courses")

# %% [markdown]
# ## Why does Scenario B fail?
#
# The slides say that BatchNorm amplifies the texture's variance. The cell above suggests another
# explanation: the noise is small against the spread of the adapted features (with ImageNet weights
# smaller in Scenario B than in A), too small to be seen, so that the loss stays where the
# published one stays. If that is so, both adaptors must learn once the noise has the same size
# against their features, $\sigma = 0.12 \cdot \operatorname{std}(Z)$. It is tested where Scenario
# A was published far above B; on screw both are near chance. Compare each system with its "σ
# relative" row.

# %%
report.save("scenario_b_noise")

# %% [markdown]
# ## What the systems see
#
# The first defective test image of each category, chosen beforehand. The predicted mask is the map
# above a threshold that knows no test image: the 99.9th percentile of the pixels of defect-free
# training images. Ask of each row whether the mask lies on the defect.

# %%
report.save("panels_bottle")

# %%
report.save("panels_screw")

# %%
report.save("panels_rendered")

# %% [markdown]
# ## Training curves
#
# Against images seen, by which progress goes in batches of any size; hollow markers are the
# published runs. Look for the curves that leave the dashed line.

# %%
report.save("training_curves")

# %% [markdown]
# ## The published claims
#
# Each verdict is computed by a stated rule (`ssn_lib/study/claims`) from runs on real images alone.
# The demo has none, so there nearly all claims are *not measurable here*; the verdicts of the
# project's own records are in `figures/ledger.md`.

# %%
report.save("claims_backbone_swap")

# %% [markdown]
# ## Take away
#
# - How much time a smaller backbone saves depends on the device. What it costs in accuracy depends
#   on the object, by the slides: on bottle no I-AUROC, but 3.4 points of AUPRO; on screw nearly
#   everything. The project's own records have no WideResNet50-2; if you trained one, your figures
#   stand under "here, baseline".
# - A score near chance does not show that a backbone is blind. Look first whether the loss left
#   1.087, and whether the map's maximum (`seg-`) tells the images apart.
# - The size of synthetic noise only means something against the spread of the features. An adaptor
#   that changes the spread changes the task.
# - Exact algebra (folding) gives the same outputs with less arithmetic. Whether that is faster,
#   and by how much, depends on the device too.
#
# ## Try it
#
# Set `try_it = True` and run the cell: Scenario B with noise of three sizes, in spreads of its
# features. After a change in the parameters run that cell, the one below it, and the one below this
# text; the whole notebook would train all its runs again. Then change
#
# 1. `epochs = 40` in the parameters (the demo has two): with which σ does the loss fall below
#    1.087?
# 2. `"scenario_b_relative"` to `"scenario_a_relative"`: does it take the same σ?
# 3. the field: `"model.upscale"` with `(1, 2)`, `"training.noise.perlin_threshold"` with
#    `(0.2, 0.6)`, or `"model.backbone"` with `("resnet18", "resnet34")` (the latter's weights are
#    needed). Every field of the model and of the training in `ssn_lib/config.py` can be swept.

# %%
if try_it:
    sigmas = (0.03, 0.12, 0.5)
    tried = study.sweep("scenario_b_relative", "training.noise.std", sigmas, study.categories[:1])
    for outcome, history in study.files(tried, "history.csv"):
        metrics = {metric: round(value, 1) for metric, value in outcome.record.metrics.items()}
        print(*(outcome.changes or ["σ of the preset"]), metrics)
        print("loss of each epoch:", history["loss"].round(3).tolist())

# %%
study.finish("01_backbone_swap")
