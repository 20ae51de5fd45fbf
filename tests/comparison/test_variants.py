from helpers.run_folders import HEAVY, LIGHT, run

from lits_seg.comparison.variants import names


def test_variants_are_named_by_what_differs() -> None:
    lr = {"optimizer.lr": 0.01, "module.optimizer.lr": 0.01}
    runs = [
        run("a", [], LIGHT),
        run("b", [], LIGHT, fold=1, seed=5, **{"output_dir": "/x", "trainer.accelerator": "gpu", "module.seed": 5}),
        run("c", [], LIGHT, **lr),
        run("d", [], HEAVY, **{"model.dropout": 0.5}),
    ]
    assert names(runs) == [f"{LIGHT}, lr 0.001", f"{LIGHT}, lr 0.001", f"{LIGHT}, lr 0.01", f"{HEAVY}, lr 0.001"]
    classes = [run("a", [], LIGHT, **{"model.out_channels": 3}), run("b", [], HEAVY, **{"model.out_channels": 2})]
    assert names(classes) == [f"{LIGHT}, out channels 3", f"{HEAVY}, out channels 2"]
    mixed = [
        run("a", []),
        run("b", [], **{"decoder.levels": ["bilinear", "deconv"], "scheduler": {"_target_": "x.Poly"}}),
    ]
    assert names(mixed) == [
        f"{HEAVY}, scheduler none",
        "unet, bilinear-deconv, scheduler Poly",
    ]


def test_an_average_of_the_weights_makes_a_variant_and_the_folder_of_a_run_does_not() -> None:
    place = {"callbacks.best.dirpath": "/x", "callbacks.split.folder": "/x"}
    runs = [run("a", []), run("b", [], fold=1, **place), run("c", [], **{"callbacks.ema.decay": 0.998})]
    assert names(runs) == [f"{HEAVY}, decay none", f"{HEAVY}, decay none", f"{HEAVY}, decay 0.998"]
