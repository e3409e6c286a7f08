/**
 * What the widget says by itself, one table a language in `words/`. A language more is a table more, and its name in
 * `LANGUAGES` of options.js.
 *
 * @typedef {object} Words
 * @property {"ltr" | "rtl"} dir
 * @property {string} title
 * @property {string} open
 * @property {string} close
 * @property {(count: number) => string} unread
 * @property {string} unavailable
 * @property {string} log
 * @property {string} write
 * @property {string} send
 * @property {string} attach
 * @property {(name: string) => string} detach
 * @property {string} drop
 * @property {(percent: number) => string} uploading
 * @property {string} uploadFailed
 * @property {string} tooLarge
 * @property {string} fileGone
 * @property {string} tooLong
 * @property {string} you
 * @property {string} visitor a name for who gave none
 * @property {string} assistant
 * @property {(names: string[]) => string} writing
 * @property {string} sending
 * @property {string} sent
 * @property {string} read
 * @property {string} failed
 * @property {string} again
 * @property {string} edited
 * @property {string} interrupted
 * @property {(count: number) => string} sources
 * @property {string} earlier
 * @property {string} newest
 * @property {string} connecting
 * @property {string} offline
 * @property {string} expired
 * @property {(when: string) => string} away
 * @property {string} leaveMessage
 * @property {string} email
 * @property {(email: string) => string} answerTo
 * @property {string} person
 * @property {string} personAsked
 * @property {(name: string) => string} personHere
 * @property {string} personGone
 * @property {string} menu
 * @property {string} sound
 * @property {string} rate
 * @property {string} rateQuestion
 * @property {(score: number) => string} score
 * @property {string} rateComment
 * @property {string} rateSend
 * @property {string} rateThanks
 * @property {string} cancel
 * @property {string} welcome
 * @property {(why: string) => string} refused
 */

/** @param {string} lang @returns {Promise<Words>} */
export async function wordsOf(lang) {
  return (await import(`./words/${lang}.js`)).words;
}
