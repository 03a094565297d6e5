"""A configuration as LightningCLI saves it."""

HOME = "tests.replaying.digits_project"


CONFIG = {
    "seed_everything": 3,
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"save_top_k": -1}},
        ],
    },
    "model": {"class_path": f"{HOME}.Net", "init_args": {"width": 12}},
    "data": {"class_path": f"{HOME}.Data"},
}
