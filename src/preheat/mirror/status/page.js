setInterval(async () => {
  const gone = document.getElementById("gone");
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
    if (!answer.ok || !next) throw new Error();
    document.querySelector("[data-live]").replaceWith(document.adoptNode(next));
    gone.hidden = true;
  } catch (error) { gone.hidden = false }
}, 2000);
