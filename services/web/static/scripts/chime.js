// Short sounds for decisions, made in the page. Browsers may want a touch first: then a button offers it.

const TONES = {
  token: [[660, 0.09]],
  step: [[740, 0.1]],
  admit: [[660, 0.12], [880, 0.22]],
  refer: [[520, 0.18], [520, 0.18]],
  deny: [[300, 0.25], [220, 0.35]],
};

export class Chime {
  constructor(button) {
    this.context = new AudioContext();
    const update = () => (button.hidden = this.context.state === "running");
    this.context.addEventListener("statechange", update);
    button.addEventListener("click", () => this.context.resume());
    update();
  }

  play(name) {
    if (this.context.state !== "running") return;
    let at = this.context.currentTime;
    for (const [frequency, seconds] of TONES[name] ?? []) {
      const tone = new OscillatorNode(this.context, { frequency, type: "sine" });
      const loudness = new GainNode(this.context, { gain: 0 });
      loudness.gain.linearRampToValueAtTime(0.25, at + 0.02);
      loudness.gain.linearRampToValueAtTime(0, at + seconds);
      tone.connect(loudness).connect(this.context.destination);
      tone.start(at);
      tone.stop((at += seconds));
    }
  }
}
