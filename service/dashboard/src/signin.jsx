import { useState } from "preact/hooks";
import { ask, setKey } from "./api.js";
import { Failure, Field, useTitle } from "./parts.jsx";
import { go, useQuery } from "./router.jsx";

export function SignIn() {
  useTitle("Sign in");
  const [key, set] = useState("");
  const [error, fail] = useState(null);
  const { to } = useQuery();
  const submit = async (event) => {
    event.preventDefault();
    const headers = { Authorization: `Bearer ${key.trim()}` };
    try {
      await ask("/v1/jobs?limit=1", { headers });
      setKey(key.trim());
      go(to?.startsWith("/ui/") ? to : "/ui/jobs");
    } catch (e) {
      fail(e);
    }
  };
  return (
    <div class="narrow">
      <h1>Sign in</h1>
      <p>
        Paste your API key. It stays in this browser tab and is gone when the tab is closed. A service that has no keys
        needs none.
      </p>
      <form onSubmit={submit}>
        <Field label="API key" hint="psk_ and 43 letters and digits, from the operator: polyseme keys create">
          {(a) => <input {...a} type="password" autocomplete="off" required value={key} onInput={(e) => set(e.target.value)} />}
        </Field>
        <button type="submit">Sign in</button>
      </form>
      {error && <Failure error={error} />}
    </div>
  );
}
