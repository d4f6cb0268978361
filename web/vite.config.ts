import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const admin = process.env.EVENKEEL_ADMIN ?? 'http://127.0.0.1:9900';

// As the admin address serves it, so that `vite preview` shows what the policy breaks.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export default defineConfig({
  plugins: [svelte()],
  // Nothing inlined: the page's policy lets scripts and styles come from files alone.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: 'es2022' },
  preview: { headers: { 'Content-Security-Policy': policy } },
  // The API refuses pages of another origin, so the proxy asks as a program does.
  server: {
    proxy: {
      '/v1': {
        target: admin,
        changeOrigin: true,
        configure: (proxy) =>
          proxy.on('proxyReq', (ask) => {
            for (const field of ['origin', 'referer', 'sec-fetch-site', 'sec-fetch-mode']) ask.removeHeader(field);
          }),
      },
    },
  },
});
