// How long until the data is erased, told every second in hours, minutes and seconds.

import { word } from "./words.js";

export function countDown(place, end) {
  const two = (number) => String(number).padStart(2, "0");
  const tick = () => {
    const left = Math.max(0, Math.floor((end - Date.now()) / 1000));
    const parts = { h: Math.floor(left / 3600), m: two(Math.floor(left / 60) % 60), s: two(left % 60) };
    place.textContent = left ? word("hours").replace(/\{(\w)\}/g, (_, name) => parts[name]) : word("over");
  };
  tick();
  return setInterval(tick, 1000);
}
