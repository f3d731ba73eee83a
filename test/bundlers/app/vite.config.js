const isolated = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default {
  base: "./",
  build: { target: "es2022" },
  worker: { format: "es" },
  server: { headers: isolated },
  preview: { headers: isolated },
};
