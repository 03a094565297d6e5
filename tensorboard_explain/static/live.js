// Looking again while a run is being written.

const PERIOD = 5000;

/** Call `look` now and then while switched on and in sight; never twice at a time. */
export function createLive(look) {
  let busy = false;
  const now = async () => {
    if (busy) return;
    busy = true;
    try {
      await look();
    } finally {
      busy = false;
    }
  };
  const live = {
    on: true,
    set: (on) => { live.on = on; },
    now,
  };
  setInterval(() => {
    // a hidden tab of TensorBoard has no size
    if (live.on && document.visibilityState === "visible" && document.documentElement.clientWidth > 0) now();
  }, PERIOD);
  return live;
}
