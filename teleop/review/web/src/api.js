// Talking to the server. The token comes in the fragment, which is never sent, and is kept for this origin.
const found = new URLSearchParams(location.hash.slice(1));
const key = "longhand-review-token";
if (found.get("token")) localStorage.setItem(key, found.get("token"));
export const token = found.get("token") || localStorage.getItem(key) || "";

export async function get(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { authorization: `Bearer ${token}` } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

export const post = (path, body) => get(path, { method: "POST", body: JSON.stringify(body ?? {}) });

// Newest wins: while one request runs, only the last one asked for is kept.
export function newest(work) {
  let running = false, waiting = null;
  return async function run(...words) {
    if (running) { waiting = words; return; }
    running = true;
    try { await work(...words); } finally {
      running = false;
      if (waiting) { const next = waiting; waiting = null; run(...next); }
    }
  };
}
