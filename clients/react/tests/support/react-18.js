/** `node --import` this, and `react` and `react-dom` are those of version 18, for modules of either kind. */
import Module, { register } from "node:module";

const to18 = (specifier) => specifier.replace(/^react(-dom)?(?=$|\/)/, "react$1-18");
const resolveFilename = Module._resolveFilename;
Module._resolveFilename = (request, ...rest) => resolveFilename.call(Module, to18(request), ...rest);

const hook = `export const resolve = (specifier, context, next) => next((${to18})(specifier), context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
