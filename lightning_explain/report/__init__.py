"""The report: what monitors logged, as one page. Knows neither torch nor Lightning, and starts at once."""
