"""Every family calls things by names that are known: of others neither checks nor training would see anything."""

import pytest

from blockskim.encoders import adapter_for, config_names
from tiny_models import FAMILIES, new_dense_model

every_family = pytest.mark.parametrize("family", FAMILIES)


@every_family
@pytest.mark.parametrize("group", ["LAYER_COUNTS", "SIZES", "HIDDEN_DROPOUTS", "ATTENTION_DROPOUTS", "ACTIVATIONS"])
def test_each_family_has_a_setting_of_each_kind(family, group):
    config = new_dense_model(family).config
    assert [name for name in getattr(config_names, group) if hasattr(config, name)]


@every_family
def test_the_layers_of_each_family_lie_in_a_list_that_is_known(family):
    encoder = new_dense_model(family).base_model
    layers = {id(layer) for layer in adapter_for(encoder.config.model_type).layers(encoder)}
    owners = {name.split(".")[-2] for name, module in encoder.named_modules() if id(module) in layers}
    assert owners <= set(config_names.LAYER_LISTS)
    assert all(hasattr(encoder.config, config_names.LAYER_LISTS[name]) for name in owners)
