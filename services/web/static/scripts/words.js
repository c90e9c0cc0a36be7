// The words that a page's script shows: the template puts them, translated, into a block of data.

const words = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

export function word(key) {
  return words[key] ?? words.unexpected ?? key;
}

// Tells everybody: in `place` for the eyes and, as it is a live region, for the ears; the same words only once.
export function tell(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

// Times are sent in UTC and shown in the reader's own zone and language.
export function localTimes(root = document) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang + "-IN", { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
}
