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
# | system | backbone | adaptor | parameters |
# |---|---|---|---|
# | baseline | WideResNet50-2 | 1×1 convolution | 33.7 M |
# | Scenario A | ResNet18 | 1×1 convolution | 4.6 M |
# | Scenario B | ResNet18 | 3×3 convolution, BatchNorm, ReLU | 5.7 M |
#
# All three are tested on MVTec AD's bottle, carpet and screw, beside SimpleNet, the ancestor.
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

# %%
from ssn_lib.study.report import Report
from ssn_lib.study.runner import Study
from ssn_lib.study.systems import ABLATION_PRESETS, NOISE_CATEGORIES, NOISE_PRESETS, SWAP_PRESETS

study = Study.of_notebook(globals())

# %% [markdown]
# ## Runs
#
# Every run is trained once and answered from its record afterwards; so is every cost. A cell that
# could not be filled says why below its table.

# %%
study.run_all((*SWAP_PRESETS, *ABLATION_PRESETS))
study.run_all(NOISE_PRESETS, NOISE_CATEGORIES)
study.efficiency(SWAP_PRESETS)
report = Report(study)

# %% [markdown]
# ## Architecture
#
# A frozen backbone gives layers 2 and 3; both are upscaled to twice layer 2's grid, concatenated
# and averaged over 3×3 neighbours: features $F$. The adaptor makes $A = a(F)$. In training the
# batch is duplicated and Gaussian noise is added inside Perlin masks $m$,
# $$\tilde A = A + \epsilon \odot m, \qquad \epsilon \sim \mathcal N(0, \sigma^2), \sigma = 0.015,$$
# with an empty mask for half of the samples. The segmentation head maps $\tilde A$ to map logits
# $M$, the classification head $(F + \epsilon \odot m, M)$ to the score logit $s$. The loss is
# $$L = \overline{\max(0,\, M + 0.5)}_{m=0} + \overline{\max(0,\, 0.5 - M)}_{m=1}
#   + L_\text{focal}(M, m) + L_\text{focal}(s, y), \qquad \gamma = 4,$$
# the truncated $L_1$ loss as means over normal and over anomalous pixels.

# %%
report.save("architecture")

# %% [markdown]
# ## Accuracy

# %%
report.save("backbone_swap")

# %% [markdown]
# By the published protocol, where such runs are at hand.

# %%
report.save("backbone_swap_full")

# %% [markdown]
# ## From SimpleNet to SuperSimpleNet
#
# What each step of the slides' comparison buys: finer features, contiguous anomalies instead of
# noise everywhere, a classification head instead of the map's maximum.

# %%
report.save("ablation")

# %% [markdown]
# ## Efficiency
#
# Published on a Tesla P100 with half precision; measured on this device in single precision. Only
# ratios within one device compare.
#
# Every network in two forms. *Plain* is the published one, operation by operation. *Folded* has the
# same outputs: from a layer $L_l$ of the backbone to the heads' first non-linearity everything is
# linear, and what acts on channels ($W_l$: adaptor, first convolution, BatchNorm) commutes with
# what acts on rows and columns ($A_l, B_l$: upscaling and pooling),
# $$W_l\,(A_l L_l B_l^\top) = A_l\,(W_l L_l)\,B_l^\top,$$
# so channels are multiplied at the backbone's resolution and interpolated afterwards.

# %%
report.save("efficiency")

# %%
report.save("efficiency_gpu")

# %%
report.save("roofline")

# %%
report.save("tradeoff")

# %% [markdown]
# ## How the published runs went
#
# The author's public notebook keeps the logs of the runs behind the slides. A network that
# answers 0 for every pixel and every image has the loss 1.087 (dashed): a training at that line has
# not learned to see its own anomalies. The table says when the published runs left it. Scenario A
# needs up to 200 epochs, Scenario B never leaves it. So a short training of Scenario A stands at
# the line too, whoever trains it.

# %%
report.save("published_leaving")

# %%
report.save("published_courses")

# %%
report.save("published_start")

# %%
report.save("full_courses")

# %% [markdown]
# ## Why does Scenario B fail?
#
# The slides say that BatchNorm amplifies the texture's variance. Another explanation: noise of
# $\sigma = 0.015$ is small against the spread of the adapted features, about 6 % of it in Scenario
# A and, behind BatchNorm and ReLU, about 2.5 % in Scenario B (all channels together; the history
# of every run records it). It would be too small to be seen, and the loss would stay where the
# published one stays. If that is so, both adaptors must learn once the noise has the same size
# against their features, here 12 % of the spread. It is tested where Scenario A was published far
# above B; on screw both are near chance.

# %%
report.save("scenario_b_noise")

# %% [markdown]
# ## What the systems see
#
# The first defective test image of each category, chosen beforehand. The predicted mask is the map
# above a threshold that knows no test image: the 99.9th percentile of the pixels of defect-free
# training images.

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
# published runs.

# %%
report.save("training_curves")

# %% [markdown]
# ## The published claims
#
# Each verdict is computed by a stated rule (`ssn_lib/study/claims`) from the runs above.

# %%
report.save("claims_backbone_swap")

# %%
study.finish("01_backbone_swap")
