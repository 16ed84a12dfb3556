"""U-Nets and SegFormers as networks: published sizes, what they take, how they start and end."""

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
pytest.importorskip("monai", reason="U-Nets need monai: make test EXTRAS=dev,train")
pytest.importorskip("transformers", reason="SegFormers need transformers")

from sluice.base.errors import ConfigError, WeightsError  # noqa: E402
from sluice.training.families import SEGFORMER, UNET  # noqa: E402
from sluice.training.onnx_export import export_checked  # noqa: E402
from sluice.training.options import SegFormerOptions, UNetOptions  # noqa: E402
from sluice.training.patches import score_patches  # noqa: E402
from sluice.training.segformer import build_segformer  # noqa: E402
from sluice.training.unet import build_unet  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_segformer_starts_from_a_local_checkpoint(tmp_path):
    from transformers import SegformerConfig
    from transformers.models.segformer.modeling_segformer import SegformerForSemanticSegmentation

    rgb = SegformerForSemanticSegmentation(
        SegformerConfig(num_channels=3, num_labels=150, decoder_hidden_size=16)
    )
    rgb.save_pretrained(tmp_path / "mit")
    options = SegFormerOptions(size="b0", checkpoint=tmp_path / "mit")
    network = build_segformer(("nir", "blue", "red", "ndwi"), 3, options)
    first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d)).weight
    old = next(m for m in rgb.modules() if isinstance(m, torch.nn.Conv2d)).weight
    assert torch.equal(first[:, 1], old[:, 2])
    assert torch.equal(first[:, 2], old[:, 0])
    assert torch.allclose(first[:, 0], old.mean(dim=1))
    assert torch.equal(first[:, 0], first[:, 3])
    kept = "segformer.segformer.stages.0.blocks.0.layernorm_before.weight"
    assert kept.removeprefix("segformer.") in rgb.state_dict()
    assert network(torch.rand(1, 4, 32, 64)).shape == (1, 3, 32, 64)

    with pytest.raises(ConfigError, match="use size b0"):
        build_segformer(("red",), 2, options.model_copy(update={"size": "b3"}))
    file = tmp_path / "mit" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build_segformer(("red",), 2, options)
    file.rename(tmp_path / "mit" / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickled weights are never opened"):
        build_segformer(("red",), 2, options)
    (tmp_path / "mit" / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"config\.json"):
        build_segformer(("red",), 2, options)


def test_published_sizes_of_segformer():
    """MiT-B3 with the published head has 47.2 million parameters in its paper, B0 3.8."""
    millions = {}
    for size in ("b0", "b3"):
        with torch.device("meta"):
            network = build_segformer(("r", "g", "b"), 150, SegFormerOptions(size=size))
        millions[size] = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx({"b0": 3.8, "b3": 47.3}, abs=0.1)


@pytest.mark.parametrize("size", ["b0", "b1", "b2", "b3", "b4", "b5"])
def test_every_size_of_segformer_takes_twelve_channels(size):
    """On the meta device: shapes alone, no weights."""
    channels = tuple(f"c{k}" for k in range(12))
    with torch.device("meta"):
        network = build_segformer(channels, 2, SegFormerOptions(size=size)).eval()
        assert network(torch.rand(2, 12, 64, 96)).shape == (2, 2, 64, 96)


@pytest.mark.parametrize("side", [16, 48])
def test_a_unet_takes_any_multiple_of_sixteen(side):
    network = build_unet(5, 3, UNetOptions(width=2)).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 5, side, 2 * side)).shape == (1, 3, side, 2 * side)
        whole = score_patches(network, torch.rand(1, 5, 70, 50), 32)
    assert whole.shape == (1, 3, 70, 50)
    assert torch.allclose(whole.sum(dim=1), torch.ones(1, 70, 50), atol=1e-5)


def test_the_last_layer_has_the_name_that_its_family_says():
    for family, options in ((UNET, UNetOptions(width=2)), (SEGFORMER, SegFormerOptions())):
        with torch.device("meta"):
            network = family.build(("red", "nir"), 5, options)
        head = [t for name, t in network.state_dict().items() if name.startswith(family.head)]
        assert [t.shape[0] for t in head] == [5, 5], "a weight and a bias for each class"


def test_a_network_of_nan_is_not_exported():
    network = torch.nn.Conv2d(2, 3, 1)
    assert export_checked(network, [(1, 2, 4, 4), (2, 2, 6, 5)], free_sides=True)
    with torch.no_grad():
        network.bias.fill_(torch.nan)
    with pytest.raises(WeightsError, match="differs"):
        export_checked(network, [(1, 2, 4, 4)], free_sides=True)
