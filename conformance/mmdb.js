/**
 * A tiny database in MaxMind's format, made where a test needs one: https://maxmind.github.io/MaxMind-DB/ (2.0). Networks of both
 * families in one tree of IPv6, records of 24 bits, a country each.
 */
import { isIPv4 } from "node:net";

const MARKER = Buffer.concat([Buffer.from([0xab, 0xcd, 0xef]), Buffer.from("MaxMind.com")]);
const SEPARATOR_BYTES = 16;
const EMPTY = null;

/** Kinds of data; those above 7 are written in a byte of their own. */
const KIND = { string: 2, uint16: 5, uint32: 6, map: 7, uint64: 9, array: 11 };

/**
 * @param {Record<string, unknown>} networks what is known of each, such as `{"203.0.113.0/24": {country: {iso_code: "DE"}}}`
 * @param {string} type what the database says that it is
 */
export function mmdb(networks, type = "Test-Country") {
  const data = [];
  let dataBytes = 0;
  const root = [EMPTY, EMPTY];
  for (const [network, record] of Object.entries(networks)) {
    const encoded = encode(record);
    enter(root, network, { at: dataBytes });
    data.push(encoded);
    dataBytes += encoded.length;
  }
  const nodes = numbered(root);
  const valueOf = (child) => (child === EMPTY ? nodes.length : Array.isArray(child) ? nodes.indexOf(child) : nodes.length + SEPARATOR_BYTES + child.at);
  const tree = Buffer.concat(nodes.flatMap((node) => node.map((child) => uint24(valueOf(child)))));
  const metadata = encode({
    binary_format_major_version: u16(2),
    binary_format_minor_version: u16(0),
    build_epoch: { kind: KIND.uint64, value: 1_750_000_000 },
    database_type: type,
    description: { en: "made by a test" },
    ip_version: u16(6),
    languages: ["en"],
    node_count: { kind: KIND.uint32, value: nodes.length },
    record_size: u16(24),
  });
  return Buffer.concat([tree, Buffer.alloc(SEPARATOR_BYTES), ...data, MARKER, metadata]);
}

function enter(root, network, leaf) {
  const [address, length] = network.split("/");
  const bits = bitsOf(address);
  const depth = Number(length) + (isIPv4(address) ? 96 : 0);
  let node = root;
  for (let n = 0; n < depth - 1; n += 1) node = node[bits[n]] ??= [EMPTY, EMPTY];
  node[bits[depth - 1]] = leaf;
}

/** IPv4 is below ::/96. */
function bitsOf(address) {
  const bytes = isIPv4(address) ? [...Array(12).fill(0), ...address.split(".").map(Number)] : groupsOf(address).flatMap((group) => [group >> 8, group & 255]);
  return bytes.flatMap((byte) => Array.from({ length: 8 }, (_, n) => (byte >> (7 - n)) & 1));
}

function groupsOf(address) {
  const [head, tail = ""] = address.split("::").map((part) => part);
  const groups = (part) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [left, right] = [groups(head), groups(tail)];
  return [...left, ...Array(8 - left.length - right.length).fill(0), ...right];
}

function numbered(root) {
  const nodes = [root];
  for (const node of nodes) nodes.push(...node.filter(Array.isArray));
  return nodes;
}

const u16 = (value) => ({ kind: KIND.uint16, value });

function encode(value) {
  if (typeof value === "string") return Buffer.concat([control(KIND.string, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Array.isArray(value)) return Buffer.concat([control(KIND.array, value.length), ...value.map(encode)]);
  if (typeof value.kind === "number") {
    const bytes = [];
    for (let rest = value.value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
    return Buffer.concat([control(value.kind, bytes.length), Buffer.from(bytes)]);
  }
  const entries = Object.entries(value).flatMap(([name, field]) => [encode(name), encode(field)]);
  return Buffer.concat([control(KIND.map, entries.length / 2), ...entries]);
}

/** None here has 29 of anything, from where on sizes take more bytes. */
function control(kind, size) {
  if (size >= 29) throw new Error(`${size} is more than this writes`);
  return kind > KIND.map ? Buffer.from([size, kind - KIND.map]) : Buffer.from([(kind << 5) | size]);
}

function uint24(value) {
  return Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
}
