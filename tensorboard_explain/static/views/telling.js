// The layer and the neuron to begin with: those that say most of the classes.

/** How far the rates of a layer's neurons differ between classes, on average; 0 where nothing is known. */
export function telling(layer, nClasses) {
  const n = layer.neurons.length;
  let sum = 0;
  for (let column = 0; column < n; column++) {
    let [low, high] = [Infinity, -Infinity];
    for (let row = 0; row < nClasses; row++) {
      const rate = layer.rates[row * n + column];
      if (rate < low) low = rate;
      if (rate > high) high = rate;
    }
    if (high > low) sum += high - low;
  }
  return n ? sum / n : 0;
}

/** The name of the layer whose neurons tell classes apart best, among those that are not saturated; "" for none. */
export function tellingLayer({ layers, classes }) {
  const good = layers.filter((layer) => !layer.saturated);
  let best = null;
  for (const layer of good.length ? good : layers) {
    const value = telling(layer, classes.length);
    if (!best || value > best.value + 1e-9) best = { name: layer.name, value };
  }
  return best?.name ?? "";
}

/** The neuron to begin with: the first one with exemplars, else the one that is most selective. */
export function tellingNeuron(layer, faced) {
  if (faced.length) return faced[0];
  let best = 0;
  layer.selectivity.forEach((value, i) => { if (value > (layer.selectivity[best] || 0)) best = i; });
  return layer.neurons[best] ?? 0;
}
