export default {
  entry: { main: "./main.ts" },
  module: { rules: [{ test: /\.ts$/, loader: "ts-loader", options: { transpileOnly: true } }] },
  resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
};
