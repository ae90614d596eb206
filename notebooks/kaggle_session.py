# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # SuperSimpleNet, evolved
#
# **What happens to a detector of surface defects when it must be cheap?** A published study swapped
# its backbone for a smaller one, let a network learn its training noise, and took the masks away.
# Here all of it is run again on public data: *as published*, faults included, then as stated, then
# better (`evolved`). Published figures stand beside measured ones. Tables and figures are made from
# the records of runs (one column, "sketch", was noted by hand, and says so).
#
# @CONTENTS@
#
# The links lead further down on this page, to the notebooks as this session executed them.

# %% [markdown]
# ## The session
#
# What it found, what it was asked for and how long that takes stands here, then the chapters
# follow. The code is hidden: the package `ssn_lib` and the study's notebooks travel packed in a
# cell of their own (commit `@COMMIT@`, built by `make kernel`).
#
# To run it yourself: accelerator GPU T4 x2, the data set `ipythonx/mvtec-ad`, and the internet on
# for the backbones' weights (or a data set that holds them). The profile `full` takes several
# sessions (how many is printed below, before it begins), and Kaggle gives 30 GPU hours a week. A
# session that runs out of time leaves a whole, smaller study. The next version goes on from there
# when this notebook's output is among its inputs.
#
# To change more than the parameters below (`epochs`, a chapter's "Try it"), clone the project:
# its notebooks have those cells. Here the chapters are pages; to try their code, run the cells up
# to `session.preflight()` and copy what you want into a cell of your own.

# %% tags=["parameters"]
profile = "full"  # the published 300 epochs; "quick": 10; "demo": rendered images
modifications = None  # numbers of notebooks, such as "01,02" or 1; None: all
category = None  # such as "bottle,screw"; None: all
seeds = None  # such as "42,43"; None: the profile's
data_root = None  # None: wherever it is among the inputs
weights_dir = None  # None: among the inputs, or downloaded
previous = None  # output of an earlier session; None: wherever it is among the inputs
time_budget_h = 11.0  # of Kaggle's 12; the rest is for tables, figures and the zip

# %%
# The package and the notebooks, packed; the next cell unpacks them.
SHA256 = "@SHA256@"
ARCHIVE = """@ARCHIVE@"""

# %%
import base64
import hashlib
import io
import os
import sys
import tarfile
import tempfile

packed = "".join(ARCHIVE.split()).encode()
if hashlib.sha256(packed).hexdigest() != SHA256:
    raise SystemExit("error: the embedded archive is damaged; build it again: make kernel")
code = tempfile.mkdtemp(prefix="ssn-")  # not in the working folder: that is the version's output
try:
    with tarfile.open(fileobj=io.BytesIO(base64.b85decode(packed)), mode="r:xz") as archive:
        archive.extractall(code, filter="data")
except OSError as error:
    raise SystemExit(f"error: cannot unpack into {code}: {error.strerror}") from None
sys.path.insert(0, code)
# The notebooks run in processes of their own, and their records name the commit.
os.environ["PYTHONPATH"] = os.pathsep.join([code, *filter(None, [os.getenv("PYTHONPATH")])])
os.environ["SSN_GIT_COMMIT"] = "@COMMIT@"

# %%
from ssn_lib.study.kaggle.session import Session

session = Session.of_notebook(globals())
session.preflight()

# %%
failed = session.run()

# %%
session.show(failed)

# %%
session.end(failed)
