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
# # Modification 3: weak supervision
#
# **Question.** A factory has thousands of parts labelled good or bad, and hardly any drawn mask.
# How well do labels alone detect, and can the map that comes with them be trusted?
#
# **GAP + CAM.** The segmentation head is removed. The classification head's 128 activations $A_k$
# of the adapted features are averaged (global average pooling), and a linear layer makes the score:
#
# $$s = \sum_k w_k \Big(\frac{1}{HW} \sum_{i,j} A_{k,i,j}\Big) + b, \qquad
#   M(i,j) = \sum_k w_k A_k(i,j).$$
#
# The map $M$ comes for nothing: its mean is $s - b$. Trained with the focal loss on real labels and
# on synthetic anomalies, defective and sound images equally often. No mask is read: replacing every
# training mask by noise leaves each bit of the result as it is (a test).
#
# **The published evaluation** applied a float32 sigmoid to $M$, which is not bounded: from about 17
# on it is exactly 1, and the strongest pixels tie. Both evaluations are shown.
#
# **Data.** KolektorSDD2 or anything in its layout: long strips, 640×232, with thin scratches.

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
from ssn_lib.study.tables.supervision import FOLD, WEAK_PRESETS

study = Study.of_notebook(globals())

# %% [markdown]
# ## Runs
#
# Every run is trained once and answered from its record afterwards; so is every cost. A cell that
# could not be filled says why below its table.

# %%
study.run_all(WEAK_PRESETS, [study.strips])
study.sweep("gap_cam", FOLD, (0, 1, 2), [study.strips])
report = Report(study)

# %% [markdown]
# ## How the published run went
#
# Its AP-loc was 33 after 8 epochs and fell to 7, at one and the same resolution of the map, while
# detection stayed where it was. Low resolution cannot explain that.

# %%
report.save("published_decay")

# %% [markdown]
# ## Labels alone
#
# Beside GAP + CAM: other poolings of the same map (its maximum; the mean of both), a finer layer,
# averaging over mirrored images; a segmentation head taught by the confident part of these maps
# (`cam_refined`, one step of self-refinement), or by what the image shows there (`cam_traced`, see
# below); and the published label-only SuperSimpleNet
# (`weak_ssn`), whose segmentation head learns from synthetic anomalies and from the score's
# gradient through the map, and the same with noise that is large enough to be seen
# (`weak_ssn_relative`).

# %%
report.save("weak_supervision")

# %%
report.save("by_epochs")

# %%
report.save("saturation")

# %% [markdown]
# ## From a blob to a line
#
# A class activation map says *where*, and is as coarse as its features. *How wide*, the image says.
# With $c(i,j)$ the distance of a pixel's colour from the median colour around it, and $t$ Otsu's
# threshold of $c$ inside the region where the map is confident, `cam_traced` starts from the
# region's pixels with $c > t$ and follows their neighbours down to half of what $t$ lies above the
# image's median of $c$. These masks then teach a segmentation head. Drawn masks are only compared
# with them here.

# %%
report.save("teaching")

# %% [markdown]
# ## The blob beside the refined map

# %%
report.save("cam_maps")

# %%
report.save("cam_maps_rendered")

# %% [markdown]
# ## Detection
#
# The image score and the map's maximum are two detectors; which is better depends on the system.

# %%
report.save("roc")

# %% [markdown]
# ## A threshold
#
# Youden's $J = \mathrm{TPR} - \mathrm{FPR}$ at its maximum. As published it is chosen on the test
# scores, that is with the answers in hand. Without them: three networks are trained, each on two
# thirds of the training images, and score the third that they have not seen.

# %%
report.save("operating_points")

# %%
report.save("score_distributions")

# %% [markdown]
# ## Localisation, pixel by pixel

# %%
report.save("pixel_pr")

# %% [markdown]
# ## Methods side by side
#
# Also those that learn from the sound images only, `evolved` (notebook 06) among them: what labels
# of defective images are worth.

# %%
report.save("methods")

# %% [markdown]
# ## The published claims

# %%
report.save("claims_weak")

# %%
study.finish("03_weak_supervision")
