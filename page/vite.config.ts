import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: { outDir: ".build/page", emptyOutDir: true, target: "es2022", modulePreload: false, assetsInlineLimit: 0, rollupOptions: { output: { entryFileNames: "assets/page.js", assetFileNames: "assets/page[extname]" } } },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8765", changeOrigin: true } } },
});
