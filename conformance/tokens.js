/** Tokens as an operator's application makes them: JSON Web Tokens by Node's own crypto, good ones and bad ones. */
import { createHmac, generateKeyPairSync, sign } from "node:crypto";

export const SECRET = "a secret of the tests, which has more than 32 bytes";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** @param {Record<string, unknown>} claims over those of a visitor of all domains, for an hour */
export const claimsOf = (claims) => ({ sub: "ann", name: "Ann", role: "visitor", domains: ["*"], exp: inSeconds(3600), ...claims });

/** HS256, unless the header says otherwise: it is signed so all the same. */
export function token(claims = {}, { secret = SECRET, header = { alg: "HS256", typ: "JWT" } } = {}) {
  const signed = `${encode(header)}.${encode(claimsOf(claims))}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

export const unsigned = (claims = {}) => `${encode({ alg: "none" })}.${encode(claimsOf(claims))}.`;

/** A pair of keys and what signs with the private one. */
export function ed25519() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return {
    pem: publicKey.export({ type: "spki", format: "pem" }),
    token(claims = {}) {
      const signed = `${encode({ alg: "EdDSA" })}.${encode(claimsOf(claims))}`;
      return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString("base64url")}`;
    },
  };
}
