import { useState } from "preact/hooks";
import { ask, setKey } from "./api.js";
import { Failure, Field, useTitle } from "./parts.jsx";
import { go } from "./router.jsx";

export function SignIn() {
  useTitle("Sign in");
  const [key, set] = useState("");
  const [error, fail] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const headers = { Authorization: `Bearer ${key.trim()}` };
    try {
      await ask("/v1/jobs?limit=1", { headers });
      setKey(key.trim());
      go("/ui/jobs");
    } catch (e) {
      fail(e);
    }
  };
  return (
    <div class="narrow">
      <h1>Sign in</h1>
      <p>Where the service has API keys, paste yours. It stays in this browser tab and is gone when the tab is closed.</p>
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
