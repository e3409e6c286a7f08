/** For what nobody announces: it is looked at again and again until it is so. What is announced is waited for instead. */
import { setTimeout as pause } from "node:timers/promises";
import { inspect } from "node:util";

/** The longest that anything may take: on Cloudflare the alarm of a room that died wakes it half a minute later. */
const GUARD_MS = 120_000;
const EVERY_MS = 25;

/**
 * @template Seen
 * @param {() => Seen | Promise<Seen>} look
 * @param {(seen: Seen) => boolean} [isSo] without it, anything true
 * @returns {Promise<Seen>} as it was seen at last
 */
export async function eventually(look, isSo = Boolean) {
  const giveUpAt = Date.now() + GUARD_MS;
  for (;;) {
    const seen = await look();
    if (isSo(seen)) return seen;
    if (Date.now() > giveUpAt) throw new Error(`${isSo === Boolean ? look : isSo} was never so; at last it was ${inspect(seen, { breakLength: 160 }).slice(0, 4_000)}`);
    await pause(EVERY_MS);
  }
}
