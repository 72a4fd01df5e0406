// Asks the daemon over its Unix socket. Node's standard library only: node worker.mjs [ELECTION]
import http from "node:http";

const socketPath = process.env.LEADERD_SOCKET ?? "/run/leaderd/leaderd.sock";
const election = process.argv[2] ?? "daily-report";

/** A promise for `forMs`, as {token, until}, or null. `until` is on performance.now(), from before the question was sent. */
function ask(forMs) {
  const asked = performance.now();
  const path = `/is-leader/${encodeURIComponent(election)}?promise=${forMs}ms&min_valid=${forMs}ms`;
  return new Promise((resolve) => {
    const request = http.get({ socketPath, path, headers: { Host: "localhost" }, timeout: 3000 }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => (text += part));
      response.on("error", () => resolve(null));
      response.on("end", () => {
        try {
          const body = JSON.parse(text);
          const yes = response.statusCode === 200 && body.leader === true;
          // Tokens exceed what a JavaScript number can hold: take the text.
          resolve(yes ? { token: body.token_text, until: asked + body.valid_for_ms } : null);
        } catch {
          resolve(null);
        }
      });
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(null));
  });
}

const term = await ask(1000);
if (term === null || performance.now() >= term.until) {
  console.log("skipped: not the leader");
} else {
  console.log(`working, X-Fencing-Token: ${term.token}`);
}
