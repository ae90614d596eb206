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
# # SuperSimpleNet, evolved: the report
#
# What happens to a detector of surface defects when it must be cheap? A published study, a deck of
# slides, swapped its backbone, let a network learn its training noise, and took the masks away.
# Here it is run again: *as published*, faults included, then as stated; and a detector of our own
# is set beside it.
#
# Every figure that was measured here is made from the records of runs, except the column "sketch"
# in the log of the search, which was noted by hand. Published figures stand in columns of their
# own. An empty cell (–) has no figure: it was not run, not measured or not published, and the notes
# below the table say which. One seed is one seed: differences smaller than the published deviation
# between seeds say nothing. The project's own records are of MVTec AD's images in 512×512 copies
# and of KolektorSDD's strips (`ssn_lib/study/README.md`, "What was at hand").

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

study = Study.of_notebook(globals())
report = Report(study)

# %% [markdown]
# ## In five minutes: what holds
#
# The slides' main checkable claims, with the verdict that a stated rule gives it
# (`ssn_lib/study/claims`). *Reproduced*: the records agree. *Not reproduced*: they do not.
# *Explained otherwise*: the effect is there, here or in the author's log, and has another cause.
# *Not measurable here*: what is missing is said. *Elsewhere* says what the same rule finds on
# other images, where the claim's own do not decide it. The whole ledger, with its evidence, is
# near the end. Runs on real images alone count: the demo has none, so there nearly all claims are
# not measurable.

# %%
report.save("verdicts")

# %% [markdown]
# The slides' closing table. Their adjectives stand beside what was measured. Look at "learns from"
# (no training of Modification 1 or 2 saw a mask) and at the numbers of epochs in brackets.

# %%
report.save("synthesis")

# %% [markdown]
# ## The data
#
# Modifications 1 and 2 learn from plates, MVTec AD's bottle, carpet and screw; Modifications 3 and
# 4 from long strips in KolektorSDD2's layout; `evolved` from both. Photographs are shown where the
# data sets are at hand, the project's own rendered images everywhere.

# %%
report.save("data_plates")

# %%
report.save("data_strips")

# %%
report.save("data_rendered")

# %% [markdown]
# ## Modification 1: a smaller backbone
#
# ResNet18 for WideResNet50-2 (Scenario A), and with a non-linear adaptor (Scenario B).

# %%
report.save("architecture")

# %%
report.save("settings_swap")

# %%
report.save("seen_swap")

# %%
report.save("backbone_swap_full")

# %% [markdown]
# What noise of a size that the network can see does for both adaptors.

# %%
report.save("scenario_b_noise")

# %% [markdown]
# The published trainings of the baseline and of Scenario A and B start slowly: at first their loss
# is that of a network that answers 0 everywhere (the second table below says for how long). Each
# run is set beside the log after as many epochs; ten lie between its evaluations after 8 and 12.

# %%
report.save("published_start")

# %%
report.save("published_leaving")

# %%
report.save("published_courses")

# %% [markdown]
# The published protocol, run here over the whole of its 300 epochs: loss, image metrics and
# localisation over the author's log. The test metrics choose nothing; they show how much of the
# last epoch's figures is chance.

# %%
report.save("full_courses")

# %% [markdown]
# Progress goes by images seen, so a training is whole after the published three hundred epochs, in
# batches of any size. Where whole trainings were run (the profile `full`), the ledger goes by them.

# %%
report.save("training_curves")

# %% [markdown]
# ### Cost

# %%
report.save("efficiency_gpu")

# %%
report.save("efficiency")

# %%
report.save("bench_costs")

# %%
report.save("exports")

# %%
report.save("bench_timings")

# %%
report.save("bench_timings_gpu")

# %%
report.save("roofline")

# %%
report.save("tradeoff")

# %% [markdown]
# ### Maps
#
# On a rendered screw of the project's own; on photographs of the data sets only where these and the
# runs are at hand.

# %%
report.save("panels_rendered")

# %%
report.save("panels_bottle")

# %%
report.save("panels_screw")

# %% [markdown]
# ## Modification 2: learned noise
#
# As published both trainings cancel their own gradients: the detector of v1 never learned, and the
# generator of v2 was never adversarial. Both forms were run, and gradient ascent beside them.

# %%
report.save("generator_v1")

# %%
report.save("generator_v2")

# %%
report.save("settings_noise")

# %%
report.save("seen_noise")

# %% [markdown]
# ### Metrics by noise source

# %%
report.save("learned_noise_full")

# %%
report.save("beta_sweep_full")

# %%
report.save("convergence")

# %%
report.save("published_courses_noise")

# %%
report.save("noise_courses")

# %%
report.save("noise_maps")

# %%
report.save("inference_free")

# %% [markdown]
# ## Modification 3: image labels alone
#
# A class activation map in place of masks. Its published localisation fell while it trained, at one
# resolution of the map, so resolution cannot explain it. A sigmoid in float32 makes strong pixels
# tie; how much that costs here is in the table on the sigmoid of a class activation map.

# %%
report.save("full_against_weak")

# %%
report.save("settings_weak")

# %%
report.save("seen_weak")

# %%
report.save("weak_supervision")

# %% [markdown]
# The region where a map is confident says where a defect is, the image says how wide: its pixels
# that differ in colour from their surroundings, and what is connected with them, can teach a
# segmentation head in the region's place. No mask is needed for that; drawn ones are only compared.

# %%
report.save("teaching")

# %%
report.save("by_epochs")

# %%
report.save("methods")

# %%
report.save("published_decay")

# %%
report.save("saturation")

# %%
report.save("roc")

# %%
report.save("operating_points")

# %%
report.save("score_distributions")

# %%
report.save("pixel_pr")

# %%
report.save("cam_maps_rendered")

# %%
report.save("cam_maps")

# %% [markdown]
# ## Modification 4: a few masks beside many labels

# %%
report.save("settings_mixed")

# %%
report.save("seen_mixed")

# %%
report.save("masks")

# %%
report.save("masks_curve")

# %% [markdown]
# ## Evolved: the same backbone sees the thread
#
# No synthetic anomalies: with no more weights than adaptor and heads had, a decoder and a local
# view give the backbone's features back, and fail on what is new (notebook 06). They work on the
# layers' own grids, and that pays for the larger images.

# %%
report.save("evolved_decoder")

# %%
report.save("settings_evolved")

# %%
report.save("seen_evolved")

# %%
report.save("evolved")

# %%
report.save("beside_peers")

# %%
report.save("without_copies")

# %%
report.save("few_images_curves")

# %%
report.save("few_images")

# %%
report.save("evolved_defects")

# %%
report.save("evolved_scores")

# %%
report.save("evolved_panels")

# %%
report.save("evolved_ingredients")

# %%
report.save("evolved_search")

# %% [markdown]
# ## Short trainings
#
# The same systems after this profile's own number of epochs: ten of the published three hundred in
# `quick`, two in the demo. Scenario A and B have hardly begun to learn by then (the table of epochs
# under Modification 1), and learned noise is seen at once, but what it makes of the metrics still
# wanders: these tables rank nothing. They stand here because more was run so: more seeds, the steps
# from SimpleNet to SuperSimpleNet, v1, gradient ascent, every β. In the profile `full` they are
# whole trainings.

# %%
report.save("backbone_swap")

# %%
report.save("ablation")

# %%
report.save("learned_noise")

# %%
report.save("beta_sweep")

# %% [markdown]
# ## The ledger
#
# The claims once more, with what each verdict rests on, and the rules.

# %%
report.save("ledger")

# %% [markdown]
# ## Every run
#
# The command that makes each record again.

# %%
report.save("all_runs")

# %%
report.save("left_out")

# %%
report.save("not_drawn")

# %%
study.finish("05_report")
