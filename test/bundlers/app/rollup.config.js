import resolve from "@rollup/plugin-node-resolve";
import terser from "@rollup/plugin-terser";
import typescript from "@rollup/plugin-typescript";

const isProduction = process.env.NODE_ENV === "production";

export default {
  // Rollup leaves `new URL("./device.js", import.meta.url)` as it is: each Worker is an entry.
  input: ["main.ts", "thread.ts", "device.ts"],
  output: { dir: "dist", entryFileNames: "[name].js" },
  plugins: [resolve(), typescript({ outDir: "dist" }), isProduction && terser()],
};
