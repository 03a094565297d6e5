"""Entry point of the tab in the group `tensorboard_plugins`."""

import argparse

from tensorboard.plugins import base_plugin

from tensorboard_explain.plugin import PLUGIN, ExplainPlugin

KEPT = 500
"""Events that TensorBoard keeps of each monitor, where `--samples_per_plugin` says nothing: its own default is 10."""


class ExplainLoader(base_plugin.TBLoader):
    """Loads the tab, and asks for enough events before TensorBoard reads the first one."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keep `KEPT` events of each monitor, unless the user asked for another number."""
        flags.samples_per_plugin = {PLUGIN: KEPT, **(flags.samples_per_plugin or {})}

    def load(  # pyright: ignore[reportIncompatibleMethodOverride] - TensorBoard's own returns nothing
        self, context: base_plugin.TBContext
    ) -> ExplainPlugin:
        """Make the plugin."""
        return ExplainPlugin(context)
