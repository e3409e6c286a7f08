/**
 * Markdown as a model writes it, built as elements: no HTML is ever parsed, so there is none to be afraid of. What is not
 * understood stays as it was written. It may be cut anywhere, as an answer is while it is written.
 */

/** Deeper than anybody writes; a message of 16 KiB could else nest itself to death. */
const DEPTH_MAX = 6;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^( *)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const ROW = /^\s*\|.*\|\s*$/;
const DIVIDER = /^\s*\|(?:\s*:?-+:?\s*\|)+\s*$/;
/** One alternative a kind; the first that fits wins, and none can look far ahead in vain. */
const INLINE =
  /\\([\\`*_[\](){}#+.!>~|-])|(`+)(.+?)\2(?!`)|\*\*(?=\S)([^]{1,2000}?\S)\*\*|\*(?=[^\s*])([^*]{0,2000}?[^\s*])\*(?!\w)|(?<!\w)_(?=\S)([^_]{0,2000}?\S)_(?!\w)|~~(?=\S)([^~]{1,2000}?)~~|\[([^\][]{1,500})\]\(<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,500}\)[^\s()<>]{0,500})?)>?\)|(https?:\/\/[^\s<>"'`]{1,2000}[^\s<>"'`.,:;!?)\]}*_])/g;

/** @param {string} text @returns {DocumentFragment} */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  blocks(fragment, text.replaceAll("\r\n", "\n").split("\n"), 0);
  return fragment;
}

/**
 * An address that a click may follow.
 * @param {string} address @param {string} [base] @returns {string | undefined}
 */
export function safeAddress(address, base) {
  try {
    const url = new URL(address, base);
    return /^(https?|mailto):$/.test(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** One that opens beside the page and learns nothing of it. @param {string} address @param {...(Node | string)} says */
export function link(address, ...says) {
  const made = make("a", ...says);
  Object.assign(made, { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
  return made;
}

/** @param {Node} into @param {string[]} lines @param {number} depth */
function blocks(into, lines, depth) {
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? "";
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (!line.trim()) at += 1;
    else if (fence) at = code(into, lines, at, fence[1] ?? "", fence[2] ?? "");
    else if (heading) {
      // Headings of an answer are not the page's: a reader that jumps between those would land in the widget.
      const level = make("p", ...inline(heading[2] ?? "", 0));
      level.className = "heading";
      level.dataset.level = String(heading[1]?.length);
      into.appendChild(level);
      at += 1;
    } else if (RULE.test(line)) {
      into.appendChild(make("hr"));
      at += 1;
    } else if (QUOTE.test(line) && depth < DEPTH_MAX) {
      const end = runOf(lines, at, (next) => QUOTE.test(next));
      const quote = make("blockquote");
      blocks(quote, lines.slice(at, end).map((next) => QUOTE.exec(next)?.[1] ?? ""), depth + 1);
      into.appendChild(quote);
      at = end;
    } else if (ITEM.test(line) && depth < DEPTH_MAX) at = list(into, lines, at, depth);
    else if (ROW.test(line) && DIVIDER.test(lines[at + 1] ?? "")) at = table(into, lines, at);
    else at = paragraph(into, lines, at, depth);
  }
}

/** @param {string[]} lines @param {number} from @param {(line: string) => boolean} belongs @returns {number} where it ends */
function runOf(lines, from, belongs) {
  let end = from + 1;
  while (end < lines.length && belongs(lines[end] ?? "")) end += 1;
  return end;
}

/** @param {Node} into @param {string[]} lines @param {number} from @param {string} fence @param {string} language */
function code(into, lines, from, fence, language) {
  const end = runOf(lines, from, (line) => !(line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0] ?? "", "")));
  const text = make("code", lines.slice(from + 1, end).join("\n"));
  if (language) text.dataset.language = language;
  const block = make("pre", text);
  // Code is read from the left in any language, and scrolled with a keyboard too.
  Object.assign(block, { dir: "ltr", tabIndex: 0 });
  into.appendChild(block);
  return end + 1;
}

/** @param {Node} into @param {string[]} lines @param {number} from @param {number} depth */
function list(into, lines, from, depth) {
  const first = ITEM.exec(lines[from] ?? "");
  const margin = first?.[1]?.length ?? 0;
  const made = make(first?.[2] ? "ol" : "ul");
  if (first?.[2] && first[2] !== "1") made.setAttribute("start", first[2]);
  let at = from;
  while (at < lines.length) {
    const item = ITEM.exec(lines[at] ?? "");
    if (!item || (item[1]?.length ?? 0) < margin || Boolean(item[2]) !== Boolean(first?.[2])) break;
    const end = runOf(lines, at, (line) => line.search(/\S/) > margin || (!line.trim() && lines[at] !== ""));
    const within = lines.slice(at + 1, end).map((line) => line.replace(new RegExp(`^ {0,${margin + 4}}`), ""));
    const entry = make("li");
    // Without a line of their own its words are no paragraph.
    entry.append(...inline(item[3] ?? "", 0));
    blocks(entry, within, depth + 1);
    made.append(entry);
    at = end;
  }
  into.appendChild(made);
  return at;
}

/** @param {Node} into @param {string[]} lines @param {number} from */
function table(into, lines, from) {
  const end = runOf(lines, from, (line) => ROW.test(line));
  const cells = (/** @type {string} */ line) => line.trim().slice(1, -1).split(/(?<!\\)\|/);
  const row = (/** @type {string} */ line, /** @type {string} */ tag) => make("tr", ...cells(line).map((cell) => make(cell.trim() ? tag : "td", ...inline(cell.trim(), 0))));
  const head = make("thead", row(lines[from] ?? "", "th"));
  const body = make("tbody", ...lines.slice(from + 2, end).map((line) => row(line, "td")));
  const frame = make("div", make("table", head, body));
  Object.assign(frame, { className: "table", tabIndex: 0 });
  into.appendChild(frame);
  return end;
}

/** @param {Node} into @param {string[]} lines @param {number} from @param {number} depth */
function paragraph(into, lines, from, depth) {
  const ends = [FENCE, HEADING, RULE, ...(depth < DEPTH_MAX ? [QUOTE, ITEM] : [])];
  const end = runOf(lines, from, (line) => Boolean(line.trim()) && !ends.some((begins) => begins.test(line)));
  const made = make("p");
  // Each direction by its own words: an answer in Arabic may quote English.
  made.dir = "auto";
  lines.slice(from, end).forEach((line, index) => {
    if (index) made.append(make("br"));
    made.append(...inline(line.trimStart(), 0));
  });
  into.appendChild(made);
  return end;
}

/** @param {string} text @param {number} depth @returns {(Node | string)[]} */
function inline(text, depth) {
  if (depth >= DEPTH_MAX) return [text];
  /** @type {(Node | string)[]} */
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(end, match.index), inlinePart(match, depth));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

/** @param {RegExpMatchArray} match @param {number} depth @returns {Node | string} */
function inlinePart([whole, escaped, , verbatim, strong, starred, underscored, struck, says, address, bare], depth) {
  const within = (/** @type {string} */ tag, /** @type {string} */ text) => make(tag, ...inline(text, depth + 1));
  if (escaped !== undefined) return escaped;
  if (verbatim !== undefined) return make("code", verbatim);
  if (strong !== undefined) return within("strong", strong);
  if (starred !== undefined) return within("em", starred);
  if (underscored !== undefined) return within("em", underscored);
  if (struck !== undefined) return within("del", struck);
  const safe = safeAddress(address ?? bare ?? "");
  if (!safe) return whole;
  return link(safe, ...(says === undefined ? [whole] : inline(says, DEPTH_MAX)));
}

/** @param {string} tag @param {...(Node | string)} children */
function make(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}
