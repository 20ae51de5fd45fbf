// The service worker of lits_seg's page: keeps the page for use without a network, and isolates it, so that threads work.
"use strict";
const { scope } = self.registration, OWN = `lits_seg-${scope}-`, CACHE = `${OWN}VERSION`;
const FILES = ["./", "manifest.webmanifest", "icon.png"].map(file => new URL(file, scope).href);

self.oninstall = event => event.waitUntil(install());
self.onactivate = event => event.waitUntil(activate());
self.onfetch = event => {
  const file = event.request.url.split(/[?#]/)[0].replace(/\/index\.html$/, "/");
  if (FILES.includes(file)) event.respondWith(answer(file));  // other pages of the server are not the worker's
};

async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map(file => new Request(file, { cache: "reload" })));
  await self.skipWaiting();
}

/** Delete earlier versions of this page; the server may have others. */
async function activate() {
  const earlier = (await caches.keys()).filter(name => name.startsWith(OWN) && name !== CACHE);
  await Promise.all(earlier.map(name => caches.delete(name)));
  await self.clients.claim();
}

/** Answer from the cache, with the two headers that isolate a page; static servers do not send them. */
async function answer(file) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(file) ?? await fetch(file), headers = new Headers(found.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
