/** What the bundler makes of imports that are no scripts. */

/** The text of a file. */
declare module "*?raw" {
  const text: string;
  export default text;
}

declare module "*.css";
