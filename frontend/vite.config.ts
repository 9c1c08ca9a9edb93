import { defineConfig } from "vite";

// TensorBoard imports index.js and calls its render(). No hashes in names and no source maps, so
// that the committed build can be compared with a fresh one byte for byte. Not Vite's library
// mode, which keeps white space.
export default defineConfig({
  base: "./",
  publicDir: "public",
  build: {
    outDir: "../tb_plugin/sparsight_tensorboard/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    rolldownOptions: {
      input: "src/index.tsx",
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: "index.js",
        assetFileNames: "index[extname]",
        codeSplitting: false,
      },
    },
  },
});
