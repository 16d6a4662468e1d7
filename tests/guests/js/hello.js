// `/` says hello; `/fetch?url=` reports what became of a call.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/fetch") {
    return Response.json(await call(searchParams.get("url")));
  }
  return new Response("hello from js\n", { headers: { "content-type": "text/plain; charset=utf-8" } });
}

async function call(url) {
  try {
    const response = await fetch(url);
    return { status: response.status, body: await response.text() };
  } catch (error) {
    return { error: String(error) };
  }
}
