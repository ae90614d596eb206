"""What must hold on a GPU; skipped where there is none. `make gpu` runs the same without pytest."""

import pytest
import torch

from ssn_lib.study.gpu.checks import CHECKS


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_on_the_gpu(check):
    check(torch.device("cuda"))
