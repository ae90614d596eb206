"""Every source is known by its name; a new one is a class under `register`, and nothing more."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch

from ssn_lib import machine, preset
from ssn_lib.config import NoiseConfig
from ssn_lib.noise.source import SOURCES, Noise, Source, mean_square, register
from ssn_lib.noise.sources import make_source, noise_over_images
from ssn_lib.training.fit import fit


def test_the_configurations_names_are_those_of_the_sources():
    assert set(get_args(get_type_hints(NoiseConfig)["source"])) == SOURCES.keys()


def test_a_source_is_trained_with_by_its_name(dataset, make_small_model, monkeypatch):
    monkeypatch.setitem(SOURCES, "gaussian", Source)  # so that it is the usual one after the test

    @register("gaussian")
    class Constant(Source):
        def forward(self, features, pixels, generator):
            values = torch.full((len(pixels), self.channels), 0.5)
            return Noise(values, mean_square(values))

    config = replace(preset("scenario_a").training, epochs=1, batch_size=6)
    history = fit(make_small_model(), dataset.train, config, 1, progress=None)
    assert isinstance(history.source, Constant)
    assert history.epochs[0].noise_rms == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["gaussian", "generator", "ascent"])
def test_a_look_shows_the_noise_of_every_pixel_and_its_features(name, make_model):
    model = make_model().eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    source = make_source(NoiseConfig(source=name), model, seed=5)
    noise, features = noise_over_images(source, model, images, machine.generator("cpu", 1))
    assert noise.shape == features.shape == (2, 16, 16, 384)
    with torch.no_grad():
        adapted = model.adaptor(model.features(images))
    assert torch.equal(features.permute(0, 3, 1, 2), adapted)
    assert noise.std() > 0
