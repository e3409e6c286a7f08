/** Two soft notes, made here: no file to fetch, nothing that a policy could refuse. */

/** @type {AudioContext | undefined} */
let context;

export function chime() {
  try {
    context ??= new AudioContext();
    for (const [note, hertz] of [587, 880].entries()) {
      const at = context.currentTime + note * 0.12;
      const [tone, volume] = [context.createOscillator(), context.createGain()];
      tone.frequency.value = hertz;
      volume.gain.setValueAtTime(0.0001, at);
      volume.gain.exponentialRampToValueAtTime(0.08, at + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, at + 0.35);
      tone.connect(volume).connect(context.destination);
      tone.start(at);
      tone.stop(at + 0.4);
    }
  } catch {
    // A machine without sound.
  }
}
