"""Parts that all monitors share: the probe, the schedule, the budget, errors, processes."""
