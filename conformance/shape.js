/** What frames and bodies must look like: names and types are part of the contract, more fields than named may come. */
import assert from "node:assert/strict";

/** RFC 3339, UTC, milliseconds: the only form of time on the wire. */
export const timestamp = matching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
export const text = predicate("a non-empty string", (v) => typeof v === "string" && v.length > 0);
export const string = predicate("a string", (v) => typeof v === "string");
export const count = predicate("an integer >= 0", (v) => Number.isInteger(v) && v >= 0);
export const positive = predicate("an integer > 0", (v) => Number.isInteger(v) && v > 0);
export const boolean = predicate("a boolean", (v) => typeof v === "boolean");
export const absent = predicate("absent", (v) => v === undefined);
export const usage = predicate("{inputTokens, outputTokens}", (v) => count.holds(v?.inputTokens) && count.holds(v?.outputTokens));

export function matching(pattern) {
  return predicate(`a string like ${pattern}`, (v) => typeof v === "string" && pattern.test(v));
}

/** For a field that may be left out (`?` in the contract) but has a type when it is there. */
export function optional(inner) {
  return predicate(`${inner.name} or nothing`, (v) => v === undefined || v === null || inner.holds(v));
}

function predicate(name, holds) {
  return { name, holds, isPredicate: true };
}

/**
 * @param {unknown} value a frame or a body
 * @param {Record<string, unknown>} expected each field a value (compared deeply) or one of the predicates above
 */
export function assertShape(value, expected) {
  assert.ok(value !== null && typeof value === "object", `expected an object, got ${JSON.stringify(value)}`);
  for (const [field, wanted] of Object.entries(expected)) {
    const got = value[field];
    const where = `"${field}" of ${JSON.stringify(value).slice(0, 600)}`;
    if (wanted?.isPredicate) assert.ok(wanted.holds(got), `${where} should be ${wanted.name}`);
    else assert.deepEqual(got, wanted, where);
  }
}

/** An `error` frame, or the error body of an HTTP reply. */
export function assertError(frame, code, naming) {
  assertShape(frame, { type: "error", code, message: text, timestamp });
  assertNames(frame.message, naming);
}

export function assertHttpError(reply, status, code, naming) {
  assert.equal(reply.status, status, `status of ${reply.text.slice(0, 600)}`);
  assertShape(reply.json, { error: text, code });
  assertNames(reply.json.error, naming);
}

function assertNames(message, naming) {
  if (naming) assert.ok(message.includes(naming), `"${message}" should name ${naming}`);
}
