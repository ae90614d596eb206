"""The same weights in anomalib's SuperSimpleNet give the same map and score.

anomalib is heavy: `make peer` puts it into a folder of its own, then
`PYTHONPATH=.peer .venv/bin/python -m pytest tests/models/test_peer_anomalib.py`.
Last run with 2.7.0.
"""

import pytest
import torch
import torchvision

from ssn_lib.config import ModelConfig

NAMES = {
    "adaptor": "adaptor.projection",
    "seg_head": "segdec.seg_head",
    "cls_head.conv": "segdec.cls_conv",
    "cls_head.fc": "segdec.cls_fc",
}
RESNET = "feature_extractor." * 3


@pytest.mark.filterwarnings("ignore")  # anomalib's and its dependencies' own
@pytest.mark.parametrize(("score", "adapt_cls_features"), [("plain", False), ("adapted", True)])
@torch.no_grad()
def test_anomalib_agrees(
    score, adapt_cls_features, monkeypatch, make_model, randomise_batchnorm, record_property
):
    pytest.importorskip("anomalib")
    timm = pytest.importorskip("timm")
    from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel

    create = timm.create_model
    monkeypatch.setattr(
        timm,
        "create_model",
        lambda *given, **named: create(*given, **named | {"pretrained": False}),
    )
    peer = SupersimplenetModel(
        backbone="resnet18.tv_in1k", adapt_cls_features=adapt_cls_features
    ).eval()
    torch.manual_seed(2)
    resnet = randomise_batchnorm(torchvision.models.resnet18())
    ours = randomise_batchnorm(make_model(ModelConfig(align_corners=False, score=score)))
    ours.backbone.load(resnet.state_dict(), "test")

    state = peer.state_dict()
    wanted = {name for name in state if "smoothing" not in name}
    given = {RESNET + name: value for name, value in resnet.state_dict().items()}
    for name, value in ours.trained_state().items():
        part = next(part for part in NAMES if name.startswith(part + "."))
        given[NAMES[part] + name.removeprefix(part)] = value
    assert wanted <= given.keys()
    peer.load_state_dict(state | {name: given[name] for name in wanted})

    images = torch.randn(3, 3, 64, 96)
    theirs, mine = peer(images), ours(images)
    pairs = {  # logits are compared, the sigmoid of a large one would tell little
        "map": (mine.anomaly_map, theirs.anomaly_map.logit()),
        "score": (mine.score, theirs.pred_score.logit()),
    }
    for name, (a, b) in pairs.items():
        assert a.std() > 0.01  # the comparison can tell
        record_property(f"{name}_max_difference", (a - b).abs().max().item())
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
