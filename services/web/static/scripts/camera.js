// A camera and still pictures of it. Nothing is recorded: a picture exists until it is sent.

export class NoCamera extends Error {
  // `code`: denied, missing, busy, insecure.
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const CODES = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing", NotReadableError: "busy", AbortError: "busy" };

const FRAME_WAIT = 250;

export class Camera {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.lost = () => {};
  }

  async open() {
    if (!navigator.mediaDevices) throw new NoCamera("insecure");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } },
      });
    } catch (error) {
      throw new NoCamera(CODES[error.name] ?? "busy");
    }
    for (const track of this.stream.getTracks()) track.addEventListener("ended", () => this.lost());
    this.video.srcObject = this.stream;
    await this.video.play().catch(() => {});
    while (!this.video.videoWidth) await this.newFrame();
  }

  // The same frame twice would be taken for a replay.
  newFrame() {
    return new Promise((done) => {
      setTimeout(done, FRAME_WAIT);
      this.video.requestVideoFrameCallback?.(done);
    });
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = undefined;
    this.video.srcObject = null;
    this.canvas.width = this.canvas.height = 0;
  }

  get works() {
    return this.stream?.getVideoTracks()[0]?.readyState === "live";
  }

  // A JPEG of at most `longest` pixels a side, cut to what the page shows (`aspect` = width / height).
  async picture(longest, aspect = 3 / 4, quality = 0.92) {
    await this.newFrame();
    const { videoWidth: width, videoHeight: height } = this.video;
    const cutWidth = Math.min(width, height * aspect), cutHeight = Math.min(height, width / aspect);
    const scale = Math.min(1, longest / Math.max(cutWidth, cutHeight));
    this.canvas.width = Math.round(cutWidth * scale);
    this.canvas.height = Math.round(cutHeight * scale);
    this.canvas
      .getContext("2d", { alpha: false })
      .drawImage(this.video, (width - cutWidth) / 2, (height - cutHeight) / 2, cutWidth, cutHeight, 0, 0, this.canvas.width, this.canvas.height);
    return new Promise((done) => this.canvas.toBlob(done, "image/jpeg", quality));
  }
}
