/** Connections that say nothing: the living are kept by pings, the silent are gone after a minute. */
import { suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const { scenario } = suite({}, { needs: "heartbeats" });

/** A ping every 25 s, gone after 60 s of silence, and a grace of 3 s: guards well beyond, for only a hang should fail. */
const PING_GUARD_MS = 45_000;
const SILENCE_GUARD_MS = 110_000;

scenario(
  "an idle connection is pinged, one that never answers is gone",
  async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    const silent = await s.connect({ autoPong: false });
    silent.send({ type: "join-room", roomId: room, userId: "sil", userName: "Sil" });
    assertShape(await ann.next("user-joined"), { userId: "sil" });

    await new Promise((resolve, reject) => {
      const guard = setTimeout(() => reject(new Error("no ping came")), PING_GUARD_MS);
      ann.socket.once("ping", () => {
        clearTimeout(guard);
        resolve();
      });
    });
    assertShape(await ann.next("user-left", SILENCE_GUARD_MS), { userId: "sil" });
    await silent.untilClosed();
    // Ann said nothing either, but her side answered the pings.
    await ann.fence(room);
  },
  { timeout: 2 * (PING_GUARD_MS + SILENCE_GUARD_MS) },
);
