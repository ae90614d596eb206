# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # SuperSimpleNet, evolved: the study on Kaggle
#
# Built by `make kernel` from commit `@COMMIT@`; the package `ssn_lib` and the study's notebooks are
# in the third cell. Wanted: the accelerator GPU T4 x2, the data set `ipythonx/mvtec-ad`, and the
# internet for the backbones' weights (or a data set that holds them).
#
# At the end the output holds `runs/` (records, tables, figures, executed notebooks) and
# `study.zip`, the same without weights.
#
# A session that ran out of time is continued by the next version when this notebook's output is
# among its inputs: finished runs are taken over, unfinished ones go on from their last epoch.

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
SHA256 = "@SHA256@"
ARCHIVE = """@ARCHIVE@"""

# %%
import base64
import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

packed = "".join(ARCHIVE.split()).encode()
if hashlib.sha256(packed).hexdigest() != SHA256:
    raise SystemExit("error: the embedded archive is damaged; build it again: make kernel")
code = Path("code").resolve()
try:
    with tarfile.open(fileobj=io.BytesIO(base64.b85decode(packed)), mode="r:xz") as archive:
        archive.extractall(code, filter="data")
except OSError as error:
    raise SystemExit(f"error: cannot unpack into {code}: {error.strerror}") from None
sys.path.insert(0, str(code))
# The notebooks run in processes of their own, and their records name the commit.
os.environ["PYTHONPATH"] = os.pathsep.join([str(code), *filter(None, [os.getenv("PYTHONPATH")])])
os.environ["SSN_GIT_COMMIT"] = "@COMMIT@"

# %%
from ssn_lib.study.kaggle.session import Session

session = Session.of_notebook(globals())
session.preflight()

# %%
session.run()

# %%
session.show()
