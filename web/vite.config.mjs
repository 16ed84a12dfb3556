// Builds the map into the Python package. Nothing is inlined, so that a strict content security
// policy holds, and the licences of what is bundled go along.
import { gzipSync } from "node:zlib";
import { defineConfig } from "vite";

const MOST_KB = 600;

/** Tells what the first screen loads, gzipped, and fails where it is too much. */
function firstScreen() {
  return {
    name: "first-screen",
    generateBundle(_options, bundle) {
      const files = Object.values(bundle);
      const first = files.filter((file) => file.isEntry || /engine/.test(file.name ?? ""));
      const wanted = new Set(first.map((file) => file.fileName));
      for (const name of wanted) for (const more of bundle[name]?.imports ?? []) wanted.add(more);
      // The worker is an asset that MapLibre starts.
      for (const file of files) if (/worker.*\.m?js$/.test(file.fileName)) wanted.add(file.fileName);
      let bytes = 0;
      for (const name of wanted) bytes += gzipSync(bundle[name].code ?? bundle[name].source).length;
      const told = `first screen: ${(bytes / 1000).toFixed(0)} kB of JavaScript, gzipped`;
      if (bytes > MOST_KB * 1000) this.error(`${told}; at most ${MOST_KB} kB are allowed`);
      console.log(`\n${told} (at most ${MOST_KB} kB)`);
    },
  };
}

export default defineConfig({
  base: "./",
  publicDir: "public",
  plugins: [firstScreen()],
  build: {
    outDir: "../src/sluice/app/web/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Web spaces that do not know the ending .mjs would keep the map's worker from starting.
    rollupOptions: {
      output: {
        assetFileNames: ({ names }) =>
          names[0]?.endsWith(".mjs") ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]",
      },
    },
    license: { fileName: "assets/licences.md" },
    chunkSizeWarningLimit: 1500,
    reportCompressedSize: true,
  },
  server: { proxy: { "^/(api|tiles|imagery|exports|reports|ogc|stac)": "http://127.0.0.1:8765" } },
});
