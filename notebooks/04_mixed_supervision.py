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
# # Modification 4: mixed supervision
#
# **Question.** The original ends with an open step: 90 % labels and 10 % masks, to sharpen the map
# without the cost of drawing every defect. What do a few masks buy?
#
# Every defective training image teaches the score. Those with a mask also teach the map, by
#
# $$L_{map} = \frac{1}{N_+} \sum_{p \in +} \omega_p \max(0, \tfrac12 - M_p)
#   + \frac{1}{N_-} \sum_{p \in -} \omega_p \max(0, \tfrac12 + M_p)
#   + \overline{\omega\, L_{focal}(M)},$$
#
# with $M_p$ the map's logit, $N_+$ and $N_-$ the numbers of defective and of other pixels,
# $\omega_p = 3\,(d_p / d_{max})^2$ inside a defect, $d_p$ the distance to its edge (borders
# are drawn by hand, and least certain), and 1 elsewhere. A defective image without a mask takes no
# loss on the map at all: where its defect lies is not known. Masks are widened to all pixels within
# a square of 7, gradients clipped to length 1, defective and sound images shown equally often,
# defective ones also mirrored and turned (Rolih et al., JIMS 2025).

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
from ssn_lib.study.tables.supervision import MASKS

study = Study.of_notebook(globals())

# %% [markdown]
# ## Runs
#
# Every run is trained once and answered from its record afterwards; so is every cost. A cell that
# could not be filled says why below its table.

# %%
study.run_all(("gap_cam", "weak_ssn", "cam_traced", "mixed_ssn", "full_ssn"), [study.strips])
study.sweep("mixed_ssn", MASKS, study.mask_numbers(), [study.strips])
report = Report(study)

# %% [markdown]
# ## Quality against masks
#
# The masks are those of the official split files where there are any; a smaller number is a part of
# a larger one where they are drawn here. Three systems see no mask at all: GAP + CAM, SSN's
# published recipe for labels alone, and a segmentation head taught by class activation maps that
# were traced along the image's contrast (notebook 03). What a mask buys is what it adds to the best
# of these.

# %%
report.save("masks")

# %%
report.save("masks_curve")

# %% [markdown]
# ## The maps

# %%
report.save("masks_maps")

# %%
report.save("masks_pixel_pr")

# %% [markdown]
# ## The published claim

# %%
report.save("claims_mixed")

# %%
study.finish("04_mixed_supervision")
