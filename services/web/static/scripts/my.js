// The traveller's own page works without this; it adds local times and the countdown.

import { countDown } from "./countdown.js";
import { localTimes } from "./words.js";

localTimes();
const place = document.getElementById("countdown");
countDown(place, new Date(place.dataset.end));
document.getElementById("travel").addEventListener("submit", () => {
  document.getElementById("departs-utc").value = new Date(document.getElementById("departs").value).toISOString();
});
