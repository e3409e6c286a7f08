/** @type {import("next").NextConfig} */
export default {
  reactStrictMode: true,
  // There is a package-lock.json above this one, which is of no concern here.
  turbopack: { root: import.meta.dirname },
};
