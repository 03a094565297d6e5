"""The report: what monitors logged to TensorBoard, as one page. Knows neither torch nor Lightning, and starts at once."""
